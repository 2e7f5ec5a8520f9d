"""The learner of A3C: applies each worker's gradient as it comes. It alone writes the weights, with
the one optimizer state."""

from __future__ import annotations

import collections
import time

from actorrl.roles.learner import Learner
from actorrl.runtime.links import Item


class ParameterServer(Learner):
    """No barrier: worker k gets new weights straight after its own gradient."""

    def on_start(self) -> None:
        super().on_start()
        self._waiting: collections.deque[Item] = collections.deque()

    def on_gradients(self, item: Item) -> None:
        if not self.learning:
            item.hold()
            self._waiting.append(item)  # one per worker
            return
        self._apply(item)

    def resume(self) -> None:
        while self._waiting and self.learning:
            item = self._waiting.popleft()
            self._apply(item)
            item.release()

    def _apply(self, item: Item) -> None:
        body = item.body
        self.count_fragment(body["num_env_steps"], body["episodes"])
        if self.too_stale(body["policy_version"]):
            return
        started = time.monotonic()
        self.update.policy.set_flat_gradient(item.arrays["gradient"])
        metrics = self.update({}, self.timesteps_total)
        self.finish_update({**body["metrics"], **metrics}, started)
        self.end_iteration_if_complete()
