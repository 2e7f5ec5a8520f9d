"""What the learners at the end of a stream share: while no iteration is open, elements stay where
they are, and the workers run out of credit."""

from __future__ import annotations

import collections

from actorrl.roles.learner import Learner
from actorrl.runtime.links import Item


class StreamLearner(Learner):
    """Base of the learners whose handler passes each element to `receive`."""

    def on_start(self) -> None:
        super().on_start()
        self._waiting: collections.deque[Item] = collections.deque()

    def take(self, item: Item) -> None:
        """Learn from an element; it is released afterwards."""
        raise NotImplementedError

    def receive(self, item: Item) -> None:
        """Take an element now, or once an iteration is open and all learners are free."""
        if self.can_learn() and not self._waiting:
            self.take(item)
        else:
            item.hold()
            self._waiting.append(item)  # at most the credit of all workers

    def resume(self) -> None:
        while self._waiting and self.can_learn():
            item = self._waiting.popleft()
            self.take(item)
            item.release()
