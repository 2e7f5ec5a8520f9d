"""The worker of A3C: collects a fragment, differentiates it, and sends the gradient.

One version of the weights is pinned for a whole rollout and its gradient, and schedules stand where
the server's count of env steps stood when it published that version. One gradient is in flight: its
credit comes back when the server has applied it and published the weights. On the server's host the
next rollout therefore starts from weights that contain it. To other hosts the credit is quicker
than the weights, which come by way of the agents: there a rollout begins without the worker's own
last gradient as a rule. It does not wait for it, and the server counts the lag as all other
(`policy_lag_mean`, `policy_lag_max`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actorrl import copies
from actorrl.data.allocate import Allocate
from actorrl.data.fragment import Fragment
from actorrl.policies.base import Policy
from actorrl.roles.rollout_worker import Sampling, SamplingActor
from actorrl.roles.settings import MakePolicy, WorkerSettings

_REPORT_S = 1.0

# (policy, batch, global env steps) -> loss to differentiate, metrics
ComputeLoss = Callable[[Policy, Mapping[str, Tensor], int], tuple[Tensor, Mapping[str, Any]]]
# (policy, fragment, global env steps, where the gradient may go) -> gradient [P], metrics
ComputeGradient = Callable[[Any, Fragment, int, Allocate], tuple[np.ndarray, Mapping[str, Any]]]


class GradientWorker(SamplingActor):
    """See the module."""

    def __init__(
        self,
        settings: WorkerSettings,
        make_policy: MakePolicy,
        compute_gradient: ComputeGradient,
    ) -> None:
        self._settings = settings
        self._make_policy = make_policy
        self._compute_gradient = compute_gradient

    def on_start(self) -> None:
        self._sampling = Sampling(self, self._settings, self._make_policy)
        self._gradient_s = 0.0
        report = self.context.report("metrics")
        self.context.every(_REPORT_S, lambda: report.send(self._metrics()))

    def _metrics(self) -> dict[str, Any]:
        return {**self._sampling.metrics(self), "gradient_s": self._gradient_s}

    def step(self) -> None:
        self._sampling.refresh()
        fragment = self._sampling.collect(unread=self._settings.unread)
        started = time.monotonic()
        stream = self.context.stream("gradients")
        gradient, metrics = self._compute_gradient(
            self._sampling.policy, fragment, self._sampling.timesteps, stream.room()
        )
        self._gradient_s += time.monotonic() - started
        self._sampling.phases.lap("gradient")
        body, _ = fragment.to_message()
        body["metrics"] = {name: float(value) for name, value in metrics.items()}
        stream.send(body, {"gradient": gradient}, rows=fragment.num_env_steps)
        self._sampling.phases.lap("send")


def by_backward(
    compute_loss: ComputeLoss,
    policy: Policy,
    fragment: Fragment,
    timesteps: int,
    allocate: Allocate = np.empty,
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """The gradient of a loss that torch differentiates."""
    policy.flat.zero_gradient()
    batch = {name: torch.from_numpy(array) for name, array in fragment.columns.items()}
    if copies.COUNTING:
        copies.note_all("batch", fragment.columns, times=0)
    loss, metrics = compute_loss(policy, batch, timesteps)
    loss.backward()
    return policy.flat_gradient(allocate), metrics
