"""The learner of A3C: applies each worker's gradient as it comes. It alone writes the weights, with
the one optimizer state."""

from __future__ import annotations

import time

import torch

from actorrl.models.flat_parameters import Float32
from actorrl.roles.settings import Arrays, Metrics
from actorrl.roles.stream_learner import StreamLearner
from actorrl.runtime.links import Item

_SIZES = "vf_targets_rms"  # of each policy: the step needs them beside the gradient


class ParameterServer(StreamLearner):
    """No barrier: worker k gets new weights straight after its own gradient."""

    def on_gradients(self, item: Item) -> None:
        self.receive(item)

    def take(self, item: Item) -> None:
        body = item.body
        self.tally.count_experience(body["num_env_steps"], body["episodes"])
        if self.too_stale(body["policy_version"]):
            return
        self.phases.lap("runtime")
        self._apply(item.arrays["gradient"], body["metrics"])
        self.end_iteration_if_complete()

    def _apply(self, gradient: Float32, told: Metrics) -> Metrics:
        """A step with a gradient [P]; `told` was measured where that was made."""
        started = time.monotonic()
        self.update.policy.set_flat_gradient(gradient)
        self.phases.lap("gather")
        sizes = {
            name: torch.tensor([x], device=self.device)
            for name, x in told.items()
            if name.endswith(_SIZES)
        }
        metrics = {**told, **self.update(sizes, self.tally.timesteps_total)}
        self.finish_update(metrics, started)
        return metrics

    def teach(self, columns: Arrays) -> Metrics:
        return self._apply(columns["gradient"], {})
