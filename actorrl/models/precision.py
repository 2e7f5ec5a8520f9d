"""A network's body in bfloat16: twice as fast on CPUs that multiply it natively.

Heads, losses and the weights themselves stay in float32.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from actorrl.errors import ConfigError
from actorrl.models.custom import UsersModel
from actorrl.models.networks import PixelConv

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_BODIES = ("body", "value_body")  # what networks call theirs
Network = TypeVar("Network", bound=nn.Module)


def set_precision(network: Any, precision: str) -> None:
    """That of its bodies, "fp32" or "bf16". Raises ConfigError for another, and for bf16 with a
    user's own model, which may compute anything."""
    if precision not in _DTYPES:
        raise ConfigError(f"precision: {precision!r} is not accepted, expected fp32 or bf16")
    if precision != "fp32" and any(isinstance(m, UsersModel) for m in network.modules()):
        raise ConfigError("precision: bf16 together with model.custom_model, expected fp32")
    network.body_precision = _DTYPES[precision]


def features_of(body: nn.Module, obs: Tensor, precision: torch.dtype) -> Tensor:
    """What a body sees in obs [N, ...], as float32 whatever it ran in."""
    if precision == torch.float32:
        features: Tensor = body(obs)
        return features
    with torch.autocast(obs.device.type, precision):
        features = body(obs)
    return features.float()


@contextlib.contextmanager
def in_float32(network: Any) -> Iterator[None]:
    """Its bodies run in float32 inside, as their weights are."""
    bodies = [(m, m.body_precision) for m in network.modules() if hasattr(m, "body_precision")]
    for module, _ in bodies:
        module.body_precision = torch.float32
    try:
        yield
    finally:
        for module, precision in bodies:
            module.body_precision = precision


class ActingNetwork(Generic[Network]):
    """Shares all with another network but its bodies, whose weights are bfloat16 already.

    Autocast casts all weights in every forward, and for the eight observations of a worker's row
    that takes as long as the layers. Both give the same numbers, bit for bit.
    """

    def __init__(self, network: Network) -> None:
        self._network = copy.copy(network)
        self._network._modules = dict(network._modules)
        self._num_writes = -1  # to the other's weights when they were cast
        self._pairs: list[tuple[Tensor, Tensor]] = []  # cast, and where it is cast from
        for name in _BODIES:
            body = network._modules.get(name)
            if body is not None:
                cast = self._network._modules[name] = _cast(body)
                self._pairs += zip(cast.parameters(), body.parameters(), strict=True)

    def of(self, num_writes: int) -> Network:
        """The network, as of so many writes to the weights (FlatParameters); without gradient."""
        if num_writes != self._num_writes:
            with torch.inference_mode(False), torch.no_grad():
                for cast, weight in self._pairs:
                    cast.copy_(weight)
            self._num_writes = num_writes
        return self._network


def acting_network(network: Network) -> ActingNetwork[Network] | None:
    """None where bodies run in float32, or stand behind a filter."""
    is_cast = getattr(network, "body_precision", torch.float32) != torch.float32
    return ActingNetwork(network) if is_cast else None


def _cast(body: nn.Module) -> nn.Module:
    """A copy. The convolution over pixels stays: it scales its few weights before it casts them."""
    cast = copy.deepcopy(body).requires_grad_(False)
    for module in cast.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not isinstance(module, PixelConv):
            module.to(torch.bfloat16)
    return cast
