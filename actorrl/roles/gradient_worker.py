"""The worker of A3C: collects a fragment, differentiates it, and sends the gradient.

One version of the weights is pinned for a whole rollout and its gradient. One gradient is in
flight: its credit comes back when the server has applied it and published the weights, so the next
rollout starts from weights that contain it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from actorrl.policies.base import Policy
from actorrl.roles.rollout_worker import Sampling, SamplingActor
from actorrl.roles.settings import MakePolicy, WorkerSettings

_REPORT_S = 1.0

# (policy, batch, global env steps) -> loss to differentiate, metrics
ComputeLoss = Callable[[Policy, Mapping[str, Tensor], int], tuple[Tensor, Mapping[str, Any]]]


class GradientWorker(SamplingActor):
    """See the module."""

    def __init__(
        self, settings: WorkerSettings, make_policy: MakePolicy, compute_loss: ComputeLoss
    ) -> None:
        self._settings = settings
        self._make_policy = make_policy
        self._compute_loss = compute_loss

    def on_start(self) -> None:
        self._sampling = Sampling(self, self._settings, self._make_policy)
        self._gradient_s = 0.0
        self._timesteps = 0
        report = self.context.report("metrics")
        self.context.every(_REPORT_S, lambda: report.send(self._metrics()))

    def _metrics(self) -> dict[str, Any]:
        return {**self._sampling.metrics(self), "gradient_s": self._gradient_s}

    def step(self) -> None:
        self._sampling.refresh()
        fragment = self._sampling.collect()
        started = time.monotonic()
        policy = self._sampling.policy
        policy.flat.zero_gradient()
        batch = {name: torch.from_numpy(array) for name, array in fragment.columns.items()}
        loss, metrics = self._compute_loss(policy, batch, self._timesteps)
        loss.backward()
        self._gradient_s += time.monotonic() - started
        self._timesteps += fragment.num_env_steps * self._settings.num_workers  # for schedules
        body, _ = fragment.to_message()
        body["metrics"] = {name: float(value) for name, value in metrics.items()}
        self.context.stream("gradients").send(
            body, {"gradient": policy.flat_gradient()}, rows=fragment.num_env_steps
        )
