"""Body and head of an action-value network.

N rows in any order, A actions, Z atoms of a distribution over returns.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.errors import ConfigError
from actorrl.models.catalog import body_for
from actorrl.models.masks import masked, masked_numpy, unmasked
from actorrl.models.model_config import ModelConfig
from actorrl.models.networks import ACTIVATIONS, MLP, linear
from actorrl.models.noisy import NoisyLinear
from actorrl.models.numpy_forward import NumpyLinear, NumpyMLP, fits_numpy
from actorrl.models.precision import features_of

Float32 = NDArray[np.float32]


class Support(NamedTuple):
    """Returns over which a distribution is kept: `num_atoms` of them, evenly from low to high."""

    low: float
    high: float
    num_atoms: int

    def values(self, device: torch.device | str = "cpu") -> Tensor:
        """[Z]"""
        return torch.linspace(self.low, self.high, self.num_atoms, device=device)


class QNetwork(nn.Module):
    """obs [N, ...] -> Q [N, A].

    `dueling` (Wang et al. 2016): Q = V + advantage - mean advantage, each stream with hidden
    layers `post_fcnet_hiddens` of its own (none: linear in the features). `support` (Bellemare et
    al. 2017): the streams give logits of Z atoms, and Q is the distribution's mean. `noisy_sigma`
    (Fortunato et al. 2018): the streams' layers are noisy, with this initial sigma. The first
    `mask_size` elements of observations mask actions: their values are MASKED. The body runs in
    `body_precision`, bfloat16 under autocast; everything after it in float32.
    """

    def __init__(
        self,
        observation_space: Any,
        num_actions: int,
        frame_stack: int,
        config: ModelConfig,
        dueling: bool = True,
        support: Support | None = None,
        noisy_sigma: float | None = None,
        mask_size: int = 0,
        action_space: Any = None,
    ) -> None:
        super().__init__()
        self.support = support
        self.mask_size = mask_size
        self.body_precision = torch.float32
        if mask_size and support is not None:
            raise ConfigError(
                "num_atoms: observations with an action_mask together with a distribution over "
                "returns are not supported, expected num_atoms 1"
            )
        self.num_actions = num_actions
        num_atoms = 1 if support is None else support.num_atoms
        self.body = body_for(observation_space, frame_stack, config, action_space)
        self.advantages = _Stream(self.body, num_actions * num_atoms, config, noisy_sigma)
        self.value = _Stream(self.body, num_atoms, config, noisy_sigma) if dueling else None

    def forward(self, obs: Tensor) -> Tensor:
        if self.support is not None:
            return self.mean_of(self.logits(obs))
        features = self._features(unmasked(obs, self.mask_size, self.body))
        q: Tensor = self.advantages(features)
        if self.value is not None:
            q = q - q.mean(dim=-1, keepdim=True) + self.value(features)
        return masked(q, obs) if self.mask_size else q

    def logits(self, obs: Tensor) -> Tensor:
        """Of the distribution of each action's return, [N, ...] -> [N, A, Z]."""
        assert self.support is not None, "this network gives values, not distributions"
        features = self._features(obs)
        logits: Tensor = self.advantages(features)
        logits = logits.view(features.shape[0], self.num_actions, self.support.num_atoms)
        if self.value is not None:
            logits = logits - logits.mean(dim=1, keepdim=True)
            logits = logits + self.value(features).unsqueeze(1)
        return logits

    def _features(self, obs: Tensor) -> Tensor:
        return features_of(self.body, obs, self.body_precision)

    def mean_of(self, logits: Tensor) -> Tensor:
        """Q [N, A] of `logits` [N, A, Z]."""
        assert self.support is not None
        return torch.softmax(logits, dim=-1) @ self.support.values(logits.device)

    def draw_noise(self, random: np.random.Generator, rows: int = 1) -> None:
        """New noise for every noisy layer: one for all rows, or one of its own for each of `rows`.
        It stays until the next draw."""
        for module in self.modules():
            if isinstance(module, NoisyLinear):
                module.draw(random, rows)

    def be_quiet(self) -> None:
        """No noise until the next draw: the mean weights, for acting greedily."""
        for module in self.modules():
            if isinstance(module, NoisyLinear):
                module.be_quiet()

    def numpy_forward(self) -> Callable[[NDArray[Any]], Float32] | None:
        """The same over the same weights in NumPy, or None if the network is not small, or bf16."""
        if self.support is not None or self.advantages.is_noisy:
            return None
        if self.body_precision != torch.float32:
            return None
        streams = [self.advantages] if self.value is None else [self.advantages, self.value]
        if not fits_numpy([self.body, *(stream.hidden for stream in streams)]):
            return None
        body = NumpyMLP(self.body)  # type: ignore[arg-type]
        advantages = self.advantages.numpy_forward()
        value = self.value.numpy_forward() if self.value is not None else None

        mask_size = self.mask_size

        def forward(obs: NDArray[Any]) -> Float32:
            features = body(obs[:, mask_size:] if mask_size else obs)
            q = advantages(features)
            if value is not None:
                q -= np.add.reduce(q, axis=1, keepdims=True) / np.float32(q.shape[1])
                q += value(features)
            return masked_numpy(q, obs) if mask_size else q

        return forward


class _Stream(nn.Module):
    """Hidden layers and a linear output, near zero at first: no action starts with a lead."""

    def __init__(
        self, body: nn.Module, outputs: int, config: ModelConfig, noisy_sigma: float | None
    ) -> None:
        super().__init__()
        size = int(body.output_size)  # type: ignore[arg-type]
        self.is_noisy = noisy_sigma is not None
        self.hidden: nn.Module
        if noisy_sigma is None:
            self.hidden = MLP(size, config.post_fcnet_hiddens, config.post_activation)
            self.output: nn.Module = linear(self.hidden.output_size, outputs, 0.1)
        else:
            sizes = [size, *config.post_fcnet_hiddens]
            self.hidden = _NoisyMLP(sizes, config.post_activation, noisy_sigma)
            self.output = NoisyLinear(sizes[-1], outputs, noisy_sigma)

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.output(self.hidden(features))
        return output

    def numpy_forward(self) -> Callable[[Float32], Float32]:
        assert isinstance(self.hidden, MLP)
        hidden, output = NumpyMLP(self.hidden), NumpyLinear(self.output)
        return lambda features: output(hidden(features))


class _NoisyMLP(nn.Module):
    def __init__(self, sizes: list[int], activation: str, sigma: float) -> None:
        super().__init__()
        self.activation = activation
        self.layers = nn.ModuleList(NoisyLinear(a, b, sigma) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = ACTIVATIONS[self.activation](layer(x))
        return x
