"""The learner of A3C: applies each worker's gradient as it comes. It alone writes the weights, with
the one optimizer state."""

from __future__ import annotations

import time

from actorrl.roles.stream_learner import StreamLearner
from actorrl.runtime.links import Item


class ParameterServer(StreamLearner):
    """No barrier: worker k gets new weights straight after its own gradient."""

    def on_gradients(self, item: Item) -> None:
        self.receive(item)

    def take(self, item: Item) -> None:
        body = item.body
        self.count_fragment(body["num_env_steps"], body["episodes"])
        if self.too_stale(body["policy_version"]):
            return
        started = time.monotonic()
        self.phases.lap("runtime")
        self.update.policy.set_flat_gradient(item.arrays["gradient"])
        self.phases.lap("gather")
        metrics = self.update({}, self.timesteps_total)
        self.finish_update({**body["metrics"], **metrics}, started)
        self.end_iteration_if_complete()
