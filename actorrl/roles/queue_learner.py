"""The learner at the end of a stream of fragments (IMPALA): a batch is what has come next."""

from __future__ import annotations

import collections

from actorrl.data.fragment import Fragment
from actorrl.roles.batch import FragmentBatch
from actorrl.roles.learner import Learner
from actorrl.runtime.links import Item


class QueueLearner(Learner):
    """Copies each fragment into the batch as it comes and gives the credit back at once. While no
    iteration is open the fragments stay where they are: the workers run out of credit."""

    def on_start(self) -> None:
        super().on_start()
        self._batch = FragmentBatch(self.device)
        self._waiting: collections.deque[Item] = collections.deque()

    def on_samples(self, item: Item) -> None:
        if not self.learning:
            item.hold()
            self._waiting.append(item)  # at most the credit of all workers
            return
        self._take(item)

    def resume(self) -> None:
        while self._waiting and self.learning:
            item = self._waiting.popleft()
            self._take(item)
            item.release()

    def _take(self, item: Item) -> None:
        fragment = Fragment.from_message(item.body, item.arrays)
        self.count_fragment(fragment.num_env_steps, item.body["episodes"])
        if self.too_stale(fragment.policy_version):
            return
        self._batch.add(fragment.columns, fragment.num_env_steps)
        if self._batch.num_env_steps >= self.settings.train_batch_size * _NEARLY:
            item.release()  # the worker goes on while we learn
            self.learn(self._batch.tensors())
            self._batch.clear()
            self.end_iteration_if_complete()


# Rows that are no decisions (about one per episode) must not make a batch of 10 fragments wait for
# an eleventh.
_NEARLY = 0.9
