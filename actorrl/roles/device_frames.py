"""Replay frames in the memory of the learner's device: `storage: cuda`.

Stacks are gathered there, and a batch's observations never cross the bus. Rows, priorities and
frame numbers stay in the host's memory. The device is any of torch's; tests use the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from actorrl.data.allocate import Allocate


class DeviceFrameStore:
    """A ring, as replay's RingFrameStore; see there and at FrameStore for what is promised."""

    def __init__(
        self,
        capacity_frames: int,
        frame_shape: tuple[int, ...],
        dtype: np.typing.DTypeLike = np.uint8,
        device: str = "cpu",
    ) -> None:
        if capacity_frames < 1:
            raise ValueError(f"capacity_frames: {capacity_frames} is no positive number of frames")
        self._dtype = np.dtype(dtype)
        kind = torch.from_numpy(np.empty(0, self._dtype)).dtype
        self._frames = torch.zeros((capacity_frames, *frame_shape), dtype=kind, device=device)
        self.oldest = 0
        self.next = 0

    @property
    def capacity(self) -> int:
        return len(self._frames)

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return tuple(self._frames.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of frames."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """On the device."""
        return self._frames.nbytes

    def add(self, frames: np.ndarray) -> int:
        """Keep `frames` [F, ...]; ValueError if they have another shape or are more than fit."""
        if frames.shape[1:] != self.frame_shape or frames.dtype != self._dtype:
            raise ValueError(
                f"frames: {frames.dtype} {frames.shape[1:]} in a store of "
                f"{self._dtype} {self.frame_shape}"
            )
        if len(frames) > self.capacity:
            raise ValueError(f"frames: {len(frames)} in a store of {self.capacity}")
        first, start = self.next, self.next % self.capacity
        head = min(len(frames), self.capacity - start)
        # A copy first: what comes in is a view of shared memory, and may not be written to.
        given = torch.from_numpy(np.array(frames))
        self._frames[start : start + head] = given[:head].to(self._frames.device)
        self._frames[: len(frames) - head] = given[head:].to(self._frames.device)
        self.next = first + len(frames)
        self.oldest = max(self.oldest, self.next - self.capacity)
        return first

    def gather(self, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Frames [*numbers.shape, ...] in the host's memory, written to `out` if given."""
        found = self._taken(numbers).cpu().numpy()
        if out is None:
            return found
        np.copyto(out, found)
        return out

    def stacks(self, numbers: np.ndarray, allocate: Allocate) -> Tensor:
        """Frames [N, k, ...] of a batch, on the device; nothing is allocated on the host."""
        return self._taken(numbers)

    def _taken(self, numbers: np.ndarray) -> Tensor:
        if numbers.size and (numbers.min() < self.oldest or numbers.max() >= self.next):
            raise IndexError(f"a frame outside {self.oldest}..{self.next - 1} was asked for")
        slots = torch.from_numpy(numbers % self.capacity).to(self._frames.device)
        return self._frames[slots]

    def check_valid(self) -> None:
        assert 0 <= self.oldest <= self.next
        assert self.next - self.oldest <= self.capacity
