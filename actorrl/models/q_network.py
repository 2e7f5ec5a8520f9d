"""Body and head of an action-value network.

N rows in any order, A actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.models.catalog import body_for
from actorrl.models.model_config import ModelConfig
from actorrl.models.networks import MLP, linear
from actorrl.models.numpy_forward import NumpyLinear, NumpyMLP, fits_numpy

Float32 = NDArray[np.float32]


class QNetwork(nn.Module):
    """obs [N, ...] -> Q [N, A].

    `dueling` (Wang et al. 2016): Q = V + advantage - mean advantage, each stream with hidden
    layers `post_fcnet_hiddens` of its own (none: linear in the features).
    """

    def __init__(
        self,
        observation_space: Any,
        num_actions: int,
        frame_stack: int,
        config: ModelConfig,
        dueling: bool = True,
    ) -> None:
        super().__init__()
        self.body = body_for(observation_space, frame_stack, config)
        self.advantages = _Stream(self.body, num_actions, config)
        self.value = _Stream(self.body, 1, config) if dueling else None

    def forward(self, obs: Tensor) -> Tensor:
        features = self.body(obs)
        q: Tensor = self.advantages(features)
        if self.value is not None:
            q = q - q.mean(dim=-1, keepdim=True) + self.value(features)
        return q

    def numpy_forward(self) -> Callable[[NDArray[Any]], Float32] | None:
        """The same over the same weights in NumPy, or None if the network is not small."""
        streams = [self.advantages] if self.value is None else [self.advantages, self.value]
        if not fits_numpy([self.body, *(stream.hidden for stream in streams)]):
            return None
        body = NumpyMLP(self.body)  # type: ignore[arg-type]
        advantages = self.advantages.numpy_forward()
        value = self.value.numpy_forward() if self.value is not None else None

        def forward(obs: NDArray[Any]) -> Float32:
            features = body(obs)
            q = advantages(features)
            if value is not None:
                q -= np.add.reduce(q, axis=1, keepdims=True) / np.float32(q.shape[1])
                q += value(features)
            return q

        return forward


class _Stream(nn.Module):
    """Hidden layers and a linear output, near zero at first: no action starts with a lead."""

    def __init__(self, body: nn.Module, outputs: int, config: ModelConfig) -> None:
        super().__init__()
        size = int(body.output_size)  # type: ignore[arg-type]
        self.hidden = MLP(size, config.post_fcnet_hiddens, config.fcnet_activation)
        self.output = linear(self.hidden.output_size, outputs, 0.1)

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.output(self.hidden(features))
        return output

    def numpy_forward(self) -> Callable[[Float32], Float32]:
        hidden, output = NumpyMLP(self.hidden), NumpyLinear(self.output)
        return lambda features: output(hidden(features))
