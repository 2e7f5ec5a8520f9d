"""Observation statistics as part of a network: they travel with its weights, under one version.

So workers, evaluation and checkpoints filter as the learner did, and stored observations stay raw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.models.actor_critic import ActorCriticNetwork, NumpyForward
from actorrl.models.custom import CustomNetwork
from actorrl.models.recurrent import State

Float32 = NDArray[np.float32]
CLIP = 10.0  # standard deviations, RLlib's


class InputFilter(nn.Module):
    """(obs - mean) * scale, clipped to [-10, 10].

    `mean` and `scale` have the shape of one observation. They are parameters without a gradient:
    in the flat vector of weights, and left alone by optimizers. Only `set_filter` changes them.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(shape), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(shape), requires_grad=False)

    @torch.no_grad()
    def set_filter(self, mean: Float32, scale: Float32) -> None:
        self.mean.copy_(torch.from_numpy(mean))
        self.scale.copy_(torch.from_numpy(scale))

    def forward(self, obs: Tensor) -> Tensor:
        return ((obs - self.mean) * self.scale).clamp(-CLIP, CLIP)

    def in_numpy(self, obs: NDArray[Any]) -> Float32:
        """The same on the host, for acting."""
        mean, scale = self.mean.detach().cpu().numpy(), self.scale.detach().cpu().numpy()
        filtered: Float32 = np.clip((obs - mean) * scale, -CLIP, CLIP)
        return filtered


class FilteredNetwork(nn.Module):
    """A network behind a filter."""

    def __init__(self, network: ActorCriticNetwork | CustomNetwork, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.filter = InputFilter(shape)
        self.network = network

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        inputs, values = self.network(self.filter(obs))
        return inputs, values

    def sequence(
        self, obs: Tensor, state: State = (), resets: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        return self.network.sequence(self.filter(obs), state, resets)

    @property
    def recurrent(self) -> bool:
        return self.network.recurrent

    def initial_state(self, batch: int) -> State:
        return self.network.initial_state(batch)

    def numpy_forward(self) -> NumpyForward | None:
        inner = self.network.numpy_forward()
        if inner is None:
            return None
        return lambda obs, with_values=True: inner(self.filter.in_numpy(obs), with_values)
