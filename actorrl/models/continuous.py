"""Actors and critics of the off-policy algorithms for continuous actions (and discrete SAC).

N rows in any order, K numbers of a flat action in [-1, 1], A discrete actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.models.catalog import body_for
from actorrl.models.masks import masked, unmasked
from actorrl.models.model_config import ModelConfig
from actorrl.models.networks import MLP, linear
from actorrl.models.numpy_forward import NumpyLinear, NumpyMLP, fits_numpy

Float32 = NDArray[np.float32]


class BodyAndHead(nn.Module):
    """obs [N, ...] -> [N, outputs]: body, hidden layers `post_fcnet_hiddens`, a linear layer. An
    actor, or a critic that gives the values of all discrete actions.

    `squash` ends it with tanh (a deterministic actor's actions). An action mask masks the outputs
    where `mask_size` says so; the body never sees it, nor does a `Critic`.
    """

    def __init__(
        self,
        observation_space: Any,
        outputs: int,
        frame_stack: int,
        config: ModelConfig,
        squash: bool,
        mask_size: int = 0,
        action_space: Any = None,
    ) -> None:
        super().__init__()
        self.mask_size = mask_size
        self.body = body_for(observation_space, frame_stack, config, action_space)
        size = int(self.body.output_size)  # type: ignore[arg-type]
        self.post = MLP(size, config.post_fcnet_hiddens, config.post_activation)
        self.output = linear(self.post.output_size, outputs, 0.01)  # near 0: no saturated tanh
        self.squash = squash

    def forward(self, obs: Tensor) -> Tensor:
        seen = unmasked(obs, self.mask_size, self.body)
        output: Tensor = self.output(self.post(self.body(seen)))
        if self.mask_size:
            output = masked(output, obs)
        return torch.tanh(output) if self.squash else output

    def numpy_forward(self) -> Callable[[NDArray[Any]], Float32] | None:
        """The same over the same weights in NumPy, or None if the network is not small."""
        if self.mask_size or not fits_numpy([self.body, self.post]):
            return None
        body, post, output = NumpyMLP(self.body), NumpyMLP(self.post), NumpyLinear(self.output)  # type: ignore[arg-type]
        if self.squash:
            return lambda obs: np.tanh(output(post(body(obs))))
        return lambda obs: output(post(body(obs)))


class Critic(nn.Module):
    """obs [N, ...] and actions [N, K] -> Q [N].

    Vectors and actions go side by side into the fully connected layers; the features of an image,
    or of a user's own body, are joined with the actions before layers `post_fcnet_hiddens` (256
    units where none are named).
    """

    def __init__(
        self,
        observation_space: Any,
        action_size: int,
        frame_stack: int,
        config: ModelConfig,
        action_space: Any = None,
    ) -> None:
        super().__init__()
        body = body_for(observation_space, frame_stack, config, action_space)
        hiddens, post = config.fcnet_hiddens, config.post_fcnet_hiddens
        self.encoder: nn.Module | None = None
        if isinstance(body, MLP):
            size = body.input_size
        else:
            self.encoder = body
            size = int(body.output_size)  # type: ignore[arg-type]
            hiddens, post = [], post or [256]
        self.hidden = MLP(size + action_size, hiddens, config.fcnet_activation)
        self.post = MLP(self.hidden.output_size, post, config.post_activation)
        self.output = linear(self.post.output_size, 1, 1.0)

    def forward(self, obs: Tensor, actions: Tensor) -> Tensor:
        rows = obs.shape[0]  # a Box without axes has nothing behind them to flatten
        features = obs.reshape(rows, -1).float() if self.encoder is None else self.encoder(obs)
        joined = torch.cat([features, actions.reshape(rows, -1)], dim=1)
        q: Tensor = self.output(self.post(self.hidden(joined)))
        return q.squeeze(-1)


class ActorAndCritics(nn.Module):
    """One actor and one or two critics without a common layer.

    `critics` of a continuous space take (obs, actions) -> Q [N]; of a discrete one obs -> Q [N, A].
    Parameters come actor first, then critic by critic (`FlatParameters.span` finds them).
    """

    def __init__(self, actor: nn.Module, critics: list[nn.Module]) -> None:
        super().__init__()
        self.actor = actor
        self.critics = nn.ModuleList(critics)

    def q_values(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One tensor per critic."""
        return tuple(critic(*inputs) for critic in self.critics)
