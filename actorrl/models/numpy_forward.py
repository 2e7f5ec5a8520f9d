"""The forward of small fully connected networks in NumPy, over the very memory of torch's weights.

Acting on a handful of observations is all per-call cost: torch spends about 5 us on each small
operation, NumPy 1 us. As the arrays are views of the weights, loading weights needs no refresh.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from actorrl.models.networks import MLP

Float32 = NDArray[np.float32]

_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "tanh": np.tanh,
    "relu": lambda x, out: np.maximum(x, 0.0, out=out),
}
LARGEST = 200_000  # parameters; above, the multiplication itself dominates and torch is as good


class NumpyMLP:
    """obs [B, ...] -> features [B, output_size], the same as the torch module to about 1e-6.

    It is void once the weights move to another place in memory (see FlatParameters.move).
    """

    def __init__(self, mlp: MLP) -> None:
        self._layers = [NumpyLinear(layer) for layer in mlp.layers]
        self._activate = _ACTIVATIONS[mlp.activation]

    def __call__(self, obs: NDArray[Any]) -> Float32:
        x = obs.reshape(len(obs), -1).astype(np.float32, copy=False)
        for layer in self._layers:
            x = layer(x)
            self._activate(x, out=x)
        return x


class NumpyLinear:
    """x [B, inputs] -> x W^T + b [B, outputs], a fresh array."""

    def __init__(self, layer: nn.Module) -> None:
        assert isinstance(layer, nn.Linear)
        self._weight = layer.weight.detach().numpy().T
        self._bias = layer.bias.detach().numpy()

    def __call__(self, x: Float32) -> Float32:
        y: Float32 = x @ self._weight
        y += self._bias
        return y


def fits_numpy(bodies: Sequence[nn.Module]) -> bool:
    """Whether these bodies are small fully connected networks on the CPU that NumPy can run."""
    parameters = [p for body in bodies for p in body.parameters()]
    return (
        all(isinstance(body, MLP) and body.activation in _ACTIVATIONS for body in bodies)
        and all(p.device.type == "cpu" for p in parameters)
        and sum(p.numel() for p in parameters) <= LARGEST
    )
