"""What is learned of a policy: a torch model, whose weights are one vector that goes out and in.

P parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.data.allocate import Allocate
from actorrl.models.flat_parameters import FlatParameters, Float32
from actorrl.models.group import ALONE, Group

Array = NDArray[Any]


class Learnable:
    """Base of `Policy`. Policies that learn call `_adopt` with a torch model, whose weights `flat`
    then holds as one vector: optimizers take `[policy.flat.vector]`. Others have neither."""

    model: nn.Module
    flat: FlatParameters
    version = 0
    group: Group = ALONE  # who learns it together with this process
    optimizers: tuple[Any, ...] = ()  # those of its weights, where it is learned
    _followers: tuple[Callable[[], None], ...] = ()

    def _adopt(self, model: nn.Module) -> None:
        """Constructors call this last: the model's weights move into one vector."""
        self.model = model
        self.flat = FlatParameters(model)
        self._weights_moved()

    def _weights_moved(self) -> None:
        """Called when the weights lie at another place in memory: renew what points at them."""

    # ---- by name --------------------------------------------------------------------------------

    def get_weights(self) -> dict[str, Float32]:
        """Copies by parameter name; {} where there is no model."""
        return self.flat.named_numpy() if hasattr(self, "flat") else {}

    def set_weights(self, weights: Mapping[str, Array]) -> None:
        """The inverse; raises ValueError naming what does not fit. The version stays as it is."""
        if weights or hasattr(self, "flat"):
            self.flat.load_named(weights)
        self.weights_replaced()

    def follow(self, sync: Callable[[], None]) -> None:
        """`sync()` is called when the weights have been replaced: an update's target network takes
        them over, which was of the weights before. Not by `load_flat`: a checkpoint has its own."""
        self._followers = (*self._followers, sync)

    def weights_replaced(self) -> None:
        """To be called by who has written to the weights otherwise than by `set_weights`."""
        if hasattr(self, "flat"):
            self.flat.num_writes += 1
        for sync in self._followers:
            sync()

    # ---- as one vector --------------------------------------------------------------------------

    def flat_weights(self) -> Float32:
        """A copy of all weights [P], in the order of `layout`."""
        return self.flat.numpy()

    def weights_in_place(self) -> Float32:
        """The same for who copies them at once: maybe no copy."""
        return self.flat.in_place()

    def load_flat(self, values: Float32, version: int) -> None:
        """Copy [P] over the weights; the caller keeps its array. Raises ValueError on its size."""
        self.flat.load(values)
        self.version = version

    def layout(self) -> list[tuple[str, tuple[int, ...]]]:
        """Name and shape of every parameter in the order of the flat vector."""
        return list(self.flat.layout)

    def flat_gradient(self, allocate: Allocate = np.empty) -> Float32:
        """A copy of the gradient [P] of the last `backward`, where `allocate` says."""
        return self.flat.gradient_numpy(allocate)

    def set_flat_gradient(self, values: Float32) -> None:
        """Copy [P] over the gradient, for a step with a worker's gradient (A3C)."""
        self.flat.set_gradient(values)

    # ---- device ---------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return self.flat.vector.device

    def to(self, device: torch.device | str) -> None:
        """Move the weights. Optimizers over `flat.vector` stay valid, their state does not move."""
        self.flat.move(device)
        self._weights_moved()

    def tensors(self, columns: Mapping[str, Array]) -> dict[str, Tensor]:
        """Columns on the policy's device, in their own dtype; on the CPU without a copy."""
        return {name: as_tensor(array, self.device) for name, array in columns.items()}

    # ---- observation filters --------------------------------------------------------------------

    def note_observations(self, columns: Mapping[str, Tensor]) -> None:
        """Called by learners after each update; policies with an observation filter learn it."""

    def note_rows(self, rows: Mapping[str, Array]) -> None:
        """Called by learners with a replay, which see rows again and again, for new ones."""

    def filter_state(self) -> dict[str, Array]:
        """Statistics of the filter for checkpoints; {} without one."""
        return {}

    def load_filter_state(self, state: Mapping[str, Array]) -> None:
        """The inverse."""


def as_tensor(array: Array, device: torch.device | str = "cpu") -> Tensor:
    """Share memory where possible; read-only memory is copied, torch cannot protect it."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's CPU generator starts from `seed` inside, and is as it was before outside.

    Layers draw their weights from torch's global generator, which belongs to the user.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
