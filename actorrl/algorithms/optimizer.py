"""The optimizer over a policy's flat weights: clipping, schedule, step, and its state as arrays."""

from __future__ import annotations

from typing import Any

import torch

from actorrl.policies.base import Policy
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.roles.settings import State


class Optimizer:
    """Adam (Kingma & Ba 2015) or RMSProp over one vector. `grad_clip` is an L2 norm of the gradient
    of the loss as the algorithm defines it: mean or sum, each algorithm's file says which."""

    def __init__(
        self,
        policy: Policy,
        lr: float,
        lr_schedule: list[tuple[float, float]] | None = None,
        grad_clip: float | None = None,
        name: str = "adam",
        eps: float = 1e-5,
    ) -> None:
        self._policy = policy
        self._grad_clip = grad_clip
        self._schedule = PiecewiseSchedule(lr_schedule) if lr_schedule else None
        parameters = [policy.flat.vector]
        self._optimizer: torch.optim.Optimizer
        if name == "adam":
            self._optimizer = torch.optim.Adam(parameters, lr=lr, eps=eps, fused=True)
        else:
            self._optimizer = torch.optim.RMSprop(parameters, lr=lr, alpha=0.99, eps=eps)

    def step(self, timesteps: int) -> dict[str, Any]:
        """Apply the gradient that `backward` (or a worker) has left; what to report of it."""
        if self._schedule is not None:
            for group in self._optimizer.param_groups:
                group["lr"] = self._schedule(timesteps)
        norm = self._policy.flat.clip_gradient(self._grad_clip)
        self._optimizer.step()
        return {"grad_gnorm": norm, "cur_lr": self._optimizer.param_groups[0]["lr"]}

    def minimize(self, loss: torch.Tensor, timesteps: int) -> dict[str, Any]:
        """Differentiate and step."""
        self._policy.flat.zero_gradient()
        loss.backward()
        return self.step(timesteps)

    def state_dict(self) -> State:
        """The moments as arrays; the settings are the config's."""
        moments = self._optimizer.state_dict()["state"].get(0, {})
        return {name: value.detach().cpu().numpy().copy() for name, value in moments.items()}

    def load_state_dict(self, state: State) -> None:
        if not state:
            return
        full = self._optimizer.state_dict()
        full["state"] = {0: {name: torch.tensor(value) for name, value in state.items()}}
        self._optimizer.load_state_dict(full)
