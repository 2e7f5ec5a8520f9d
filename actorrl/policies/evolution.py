"""The policy of ES and ARS: a small network without gradient, of which many variants act at once.

B environments side by side, P parameters of the network, O elements of an observation.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.errors import ConfigError
from actorrl.models.action_layout import is_bounded
from actorrl.models.masks import mask_size, masked, masked_numpy
from actorrl.models.model_config import ModelConfig
from actorrl.models.networks import ACTIVATIONS, MLP, linear
from actorrl.policies.base import Act, Array, ArrayState, Policy
from actorrl.policies.learnable import seeded

Float32 = NDArray[np.float32]

_FARTHEST = 10.0  # standard deviations that a filtered observation may lie off


def perturbation(seed: int, size: int) -> Float32:
    """Standard normal noise [P] that every process makes alike from the seed."""
    return np.random.default_rng(seed).standard_normal(size, dtype=np.float32)


class EvolutionPolicy(Policy):
    """Actions straight from the outputs: the largest of A, of those that an action mask allows, or
    for a Box the outputs themselves, through tanh where it is bounded. With `explore`,
    `action_noise` is added to a Box's.

    `model.net` is what evolves (`flat.span("net")`); the observation filter's mean and scale lie
    beside it, so that they travel and are kept with the weights of the same version.
    """

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        frame_stack: int = 1,
        model_config: ModelConfig | None = None,
        seed: int = 0,
        *,
        action_noise: float = 0.0,
    ) -> None:
        super().__init__(observation_space, action_space, frame_stack=frame_stack, seed=seed)
        if not isinstance(action_space, Discrete | Box):
            raise ConfigError(
                f"env: evolution strategies cannot act in the action space {action_space}, "
                "expected Discrete or a Box"
            )
        if frame_stack > 1:
            raise ConfigError(f"env: evolution strategies do not see stacks of {observation_space}")
        self.model_config = model_config or ModelConfig()
        if self.model_config.use_lstm:
            raise ConfigError("model.use_lstm: true with evolution strategies, expected false")
        if self.model_config.custom_model is not None:
            raise ConfigError(
                "model.custom_model: not accepted by evolution strategies, which act with all of a"
                " population's networks at once, expected an algorithm that follows gradients"
            )
        if self.model_config.fcnet_activation not in _ACTIVATIONS:
            raise ConfigError(
                f"model.fcnet_activation: {self.model_config.fcnet_activation!r} with evolution"
                f" strategies, expected one of {', '.join(_ACTIVATIONS)}"
            )
        self.discrete = isinstance(action_space, Discrete)
        self._mask_size = mask_size(observation_space, action_space)
        self._bounded = is_bounded(action_space)
        self._action_noise = action_noise
        self.observation_size = math.prod(observation_space.shape)
        size = math.prod(self.action_layout.shape)
        outputs = int(action_space.n) if isinstance(action_space, Discrete) else size
        hiddens = self.model_config.fcnet_hiddens
        self._sizes = [self.observation_size, *hiddens, outputs]
        with seeded(seed):
            self._adopt(_Model(self._sizes, self.model_config.fcnet_activation))

    def _weights_moved(self) -> None:
        self._weights: Float32 = self.flat.vector.detach().cpu().numpy()
        self._net = self.flat.span("net")
        self._mean = self._weights[self.flat.span("filter_mean")]
        self._scale = self._weights[self.flat.span("filter_scale")]

    @property
    def parameters(self) -> Float32:
        """What evolves, [P]: a view."""
        return self._weights[self._net]

    @property
    def filter_mean(self) -> Float32:
        """[O]: a view."""
        return self._mean

    def set_filter(self, mean: Array, stddev: Array) -> None:
        """[O] each: from now on observations come as (obs - mean) / stddev."""
        self._mean[:] = mean.ravel()
        self._scale[:] = 1.0 / stddev.ravel()

    def act(self, obs: Array, state: ArrayState = (), explore: bool = True) -> Act:
        actions = self.act_with(self.parameters[None], obs)
        return Act(self.explored(actions, np.full(len(obs), explore)), {}, state)

    def explored(self, actions: Array, rows: NDArray[np.bool_]) -> Array:
        """Actions [B, ...], those of `rows` [B] with noise; stored ones of a bounded Box stay
        within [-1, 1]."""
        if self.discrete or not self._action_noise or not rows.any():
            return actions
        noise = self.random.standard_normal(actions.shape, dtype=np.float32)
        noise[~rows] = 0.0
        noisy: Array = actions + self._action_noise * noise
        return np.clip(noisy, -1.0, 1.0) if self._bounded else noisy

    def act_with(self, parameters: Float32, obs: Array) -> Array:
        """Actions [B, ...] of networks with `parameters` [B, P], or one for all [1, P]."""
        flat = obs.reshape(len(obs), -1).astype(np.float32)
        x = np.clip((flat - self._mean) * self._scale, -_FARTHEST, _FARTHEST)
        y = self._outputs(parameters, x)
        if self.discrete:
            return (masked_numpy(y, flat) if self._mask_size else y).argmax(axis=1)
        if self._bounded:
            np.tanh(y, out=y)
        return y.reshape(len(obs), *self.action_layout.shape)

    def greedy(
        self, obs: Tensor, state: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        model = self.model
        assert isinstance(model, _Model)
        flat = obs.reshape(obs.shape[0], -1).float()
        x = (flat - model.filter_mean) * model.filter_scale
        x = x.clamp(-_FARTHEST, _FARTHEST)
        *hidden, last = model.net
        for layer in hidden:
            x = ACTIVATIONS[self.model_config.fcnet_activation](layer(x))
        outputs: Tensor = last(x)
        if self._mask_size:
            outputs = masked(outputs, flat)
        if self.discrete:
            return outputs.argmax(dim=1), outputs, state
        return (torch.tanh(outputs) if self._bounded else outputs), outputs, state

    def _outputs(self, parameters: Float32, x: Float32) -> Float32:
        activate, start, last = (
            _ACTIVATIONS[self.model_config.fcnet_activation],
            0,
            len(self._sizes),
        )
        for index, (inputs, outputs) in enumerate(pairwise(self._sizes), 2):
            middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
            weight = parameters[:, start:middle].reshape(-1, outputs, inputs)
            x = np.matmul(weight, x[:, :, None])[:, :, 0] + parameters[:, middle:end]
            start = end
            if index < last:
                activate(x, out=x)
        return x


_ACTIVATIONS: dict[str, Any] = {
    "tanh": np.tanh,
    "relu": lambda x, out: np.maximum(x, 0.0, out=out),
}


class _Model(nn.Module):
    """Only holds the weights, layer by layer weight and bias; no forward is ever differentiated."""

    def __init__(self, sizes: list[int], activation: str) -> None:
        super().__init__()
        body = MLP(sizes[0], sizes[1:-1], activation)
        self.net = nn.ModuleList([*body.layers, linear(sizes[-2], sizes[-1], 0.01)])
        self.filter_mean = nn.Parameter(torch.zeros(sizes[0]))
        self.filter_scale = nn.Parameter(torch.ones(sizes[0]))
