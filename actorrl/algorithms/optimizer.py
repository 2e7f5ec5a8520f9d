"""The optimizer over a policy's flat weights: clipping, schedule, step, and its state as arrays.

Uses torch's own Adam and RMSProp in their functional form: the classes import torch's compiler when
they are made, which takes a learner a second at its start and 60 MB.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop

from actorrl.algorithms.config import GradientClip
from actorrl.policies.base import Policy
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.roles.settings import State
from actorrl.runtime.refs import beat

ADAM_EPS = 1e-5  # added to the root of its second moment
_MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "rmsprop": ("square_avg", "momentum_buffer")}
_NO_CLIP = GradientClip()


class Optimizer:
    """Adam (Kingma & Ba 2015) or RMSProp over one vector. `clip` limits the gradient of the loss as
    the algorithm defines it: mean or sum, each algorithm's file says which.

    `part` names a module (or parameter) within the policy's model that has this optimizer of its
    own: nothing else is differentiated or moved.
    """

    def __init__(
        self,
        policy: Policy,
        lr: float,
        lr_schedule: list[tuple[float, float]] | None = None,
        clip: GradientClip = _NO_CLIP,
        name: str = "adam",
        eps: float = ADAM_EPS,
        part: str = "",
        decay: float = 0.99,
        momentum: float = 0.0,
    ) -> None:
        """`decay` and `momentum` are RMSProp's; torch calls the first one alpha."""
        self._policy = policy
        policy.optimizers = (*policy.optimizers, self)
        self._lr = lr
        self._schedule = PiecewiseSchedule(lr_schedule) if lr_schedule else None
        self._clip = clip
        self._name = name
        self._eps = eps
        self._decay, self._momentum = decay, momentum
        self._span = policy.flat.span(part) if part else slice(None)
        self._inputs = [
            parameter
            for key, parameter in policy.model.named_parameters()
            if (part in ("", key) or key.startswith(f"{part}.")) and parameter.requires_grad
        ]
        vector = policy.flat.vector[self._span]
        self._steps = torch.zeros((), device=vector.device)
        self._moments = [torch.zeros_like(vector.data) for _ in _MOMENTS[name]]

    def minimize(self, loss: Tensor, timesteps: int, rows: Tensor | None = None) -> dict[str, Any]:
        """Differentiate and step. Of several learners each gives the mean over its own `rows`,
        those that are not 0, and all step along the gradient of the mean over everybody's."""
        gradient = self._policy.flat.gradient[self._span]
        gradient.zero_()
        loss.backward(inputs=self._inputs)
        self._policy.group.average(gradient, rows)
        return self.step(timesteps)

    def has_gradient(self) -> bool:
        """Whether any number of its part's is not zero."""
        return bool(self._policy.flat.gradient[self._span].any())

    @torch.no_grad()
    def step(self, timesteps: int) -> dict[str, Any]:
        """Apply the gradient that `backward` (or a worker) has left; what to report of it."""
        lr = self._schedule(timesteps) if self._schedule is not None else self._lr
        flat = self._policy.flat
        norm = flat.clip_gradient(self._clip.limit, self._span, self._clip.by)
        step = self._adam if self._name == "adam" else self._rmsprop
        step([flat.vector.data[self._span]], [flat.gradient[self._span]], lr)
        flat.num_writes += 1
        beat()  # an update of many minibatches may take longer than a learner's progress limit
        return {"grad_gnorm": norm, "cur_lr": lr}

    def _adam(self, weights: list[Tensor], gradients: list[Tensor], lr: float) -> None:
        adam(
            weights,
            gradients,
            [self._moments[0]],
            [self._moments[1]],
            [],
            [self._steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=lr,
            weight_decay=0.0,
            eps=self._eps,
            maximize=False,
        )

    def _rmsprop(self, weights: list[Tensor], gradients: list[Tensor], lr: float) -> None:
        rmsprop(
            weights,
            gradients,
            [self._moments[0]],
            [],
            [self._moments[1]],
            [self._steps],
            foreach=False,
            lr=lr,
            alpha=self._decay,
            eps=self._eps,
            weight_decay=0.0,
            momentum=self._momentum,
            centered=False,
        )

    def state_dict(self) -> State:
        """The moments as arrays; the settings are the config's."""
        names = ("step", *_MOMENTS[self._name])
        tensors = (self._steps, *self._moments)
        return {n: t.cpu().numpy().copy() for n, t in zip(names, tensors, strict=True)}

    def load_state_dict(self, state: State) -> None:
        self._steps.copy_(torch.tensor(state["step"]))
        for name, moment in zip(_MOMENTS[self._name], self._moments, strict=True):
            if name in state or name != "momentum_buffer":  # older states have none
                moment.copy_(torch.tensor(state[name]))


class OneOptimizer:
    """Base of the updates whose state is that of their one optimizer."""

    _optimizer: Optimizer

    def state_dict(self) -> State:
        return {"optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self._optimizer.load_state_dict(state["optimizer"])


def go_on_drawing(generator: torch.Generator, state: Any) -> None:
    """From what `generator.get_state()` was. That of another kind of device cannot be taken over
    (what was trained on a GPU goes on without one, or the reverse): the seed's draws come again."""
    known = torch.tensor(state)
    if known.shape == generator.get_state().shape:
        generator.set_state(known)
