"""Replay frames in the memory of the learner's device: `storage: cuda`.

Stacks are gathered there, and a batch's observations never cross the bus. Rows, priorities and
frame numbers stay in the host's memory. The device is any of torch's; tests use the CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from actorrl.data.allocate import Allocate
from actorrl.replay.frame_store import FrameNumbers


class DeviceFrameStore(FrameNumbers):
    """A ring, as replay's RingFrameStore; see there and at FrameStore for what is promised."""

    def __init__(
        self,
        capacity_frames: int,
        frame_shape: tuple[int, ...],
        dtype: np.typing.DTypeLike = np.uint8,
        device: str = "cpu",
    ) -> None:
        super().__init__(capacity_frames, frame_shape, dtype)
        kind = torch.from_numpy(np.empty(0, self._dtype)).dtype
        self._frames = torch.zeros((capacity_frames, *frame_shape), dtype=kind, device=device)

    @property
    def nbytes(self) -> int:
        """On the device."""
        return self._frames.nbytes

    def _put(self, start: int, frames: np.ndarray) -> None:
        # A copy first: what comes in is a view of shared memory, and may not be written to.
        given = torch.from_numpy(np.array(frames))
        self._frames[start : start + len(frames)] = given.to(self._frames.device)

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
        return self._frames[torch.from_numpy(self._slots(numbers)).to(self._frames.device)]
