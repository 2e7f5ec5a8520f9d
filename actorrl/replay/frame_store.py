"""Single frames, each kept once, from which stacks are gathered when a batch is sampled.

A row of an Atari replay needs four frames for its observation and four for the one after it; kept
stack by stack that is 56,448 bytes a row, kept frame by frame about 7,100.

Frames have absolute numbers: the first ever added is 0, and a number is never used again. The
store forgets the oldest frames when new ones need the room; `oldest` says which numbers still
hold. Letters: F frames of a call, N rows, k frames of a stack.
"""

from __future__ import annotations

import sys
from typing import Any, Protocol

import lz4.block
import numpy as np

from actorrl.data.allocate import Allocate


def frames_for(capacity_rows: int, fragment_frames: int, num_streams: int = 1) -> int:
    """Frames to hold for `capacity_rows` rows that come from `num_streams` workers in turn.

    One frame a row; 2 % for the rows after an end, which are no transitions; and one fragment of
    each worker, F * B frames, since a worker's rows lean on the frames of its fragment before.
    Of a smaller store the oldest rows go earlier, no more.
    """
    return int(capacity_rows * 1.02) + num_streams * fragment_frames


class FrameStore(Protocol):
    """What replay needs of a store; the role of a learner may keep one on its GPU instead."""

    oldest: int
    """Number of the oldest frame that is still held."""
    next: int
    """Number that the next frame will get; next - oldest frames are held."""

    @property
    def capacity(self) -> int:
        """Most frames held at once."""

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""

    def add(self, frames: np.ndarray) -> int:
        """Keep `frames` [F, ...] and return the number of the first; the others follow it."""

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of frames."""

    def gather(self, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Frames [N, k, ...] of the held `numbers` [N, k], written to `out` if given."""

    def stacks(self, numbers: np.ndarray, allocate: Allocate) -> Any:
        """Frames [N, k, ...] of a batch: an array from `allocate(shape, dtype)`, or, of a store on
        a device, a tensor there."""

    def check_valid(self) -> None:
        """Assert the store's invariants."""


def stacks_on_host(store: FrameStore, numbers: np.ndarray, allocate: Allocate) -> np.ndarray:
    return store.gather(numbers, allocate((*numbers.shape, *store.frame_shape), store.dtype))


class FrameNumbers:
    """What all stores share: which numbers they hold, each in a slot of a ring of `capacity`."""

    def __init__(
        self, capacity_frames: int, frame_shape: tuple[int, ...], dtype: np.typing.DTypeLike
    ) -> None:
        if capacity_frames < 1:
            raise ValueError(f"capacity_frames: {capacity_frames} is no positive number of frames")
        self._capacity = capacity_frames
        self._frame_shape = tuple(frame_shape)
        self._dtype = np.dtype(dtype)
        self.oldest = 0
        self.next = 0

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return self._frame_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of frames."""
        return self._dtype

    def add(self, frames: np.ndarray) -> int:
        """Keep `frames` [F, ...]; the first one's number. ValueError if they have another shape or
        are more than fit."""
        if frames.shape[1:] != self._frame_shape or frames.dtype != self._dtype:
            raise ValueError(
                f"frames: {frames.dtype} {frames.shape[1:]} in a store of "
                f"{self._dtype} {self._frame_shape}"
            )
        if len(frames) > self._capacity:
            raise ValueError(f"frames: {len(frames)} in a store of {self._capacity}")
        first, start = self.next, self.next % self._capacity
        head = min(len(frames), self._capacity - start)
        self._put(start, frames[:head])
        self._put(0, frames[head:])
        self.next = first + len(frames)
        self.oldest = max(self.oldest, self.next - self._capacity)
        return first

    def _put(self, start: int, frames: np.ndarray) -> None:
        """Into the slots from `start` on, in the place of what was there."""
        raise NotImplementedError

    def _slots(self, numbers: np.ndarray) -> np.ndarray:
        """Where these frames are. Raises IndexError for one that is not held."""
        if numbers.size and (numbers.min() < self.oldest or numbers.max() >= self.next):
            raise IndexError(f"a frame outside {self.oldest}..{self.next - 1} was asked for")
        return numbers % self._capacity

    def check_valid(self) -> None:
        assert 0 <= self.oldest <= self.next
        assert self.next - self.oldest <= self._capacity


class RingFrameStore(FrameNumbers):
    """Frames in one array; a new frame takes the place of the oldest."""

    def __init__(
        self,
        capacity_frames: int,
        frame_shape: tuple[int, ...],
        dtype: np.typing.DTypeLike = np.uint8,
    ) -> None:
        super().__init__(capacity_frames, frame_shape, dtype)
        # Zero pages are handed out by the kernel when they are first written, so that a large ring
        # takes memory as it fills, not at once.
        self._frames = np.zeros((capacity_frames, *frame_shape), dtype)

    @property
    def nbytes(self) -> int:
        return self._frames.nbytes

    def _put(self, start: int, frames: np.ndarray) -> None:
        self._frames[start : start + len(frames)] = frames

    def gather(self, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Frames [*numbers.shape, ...], a copy, written to `out` if given."""
        # Every slot is in range, so "clip" changes none; with the default mode and `out`, NumPy
        # would copy everything twice. ("wrap" subtracts the capacity in a loop: slow.)
        return np.take(self._frames, self._slots(numbers), axis=0, out=out, mode="clip")

    def stacks(self, numbers: np.ndarray, allocate: Allocate) -> np.ndarray:
        return stacks_on_host(self, numbers, allocate)


class LZ4FrameStore(FrameNumbers):
    """Frames compressed one by one, so that any of them can be read alone.

    A frame of an Atari game takes a tenth of its bytes or less. It takes 1 us more to keep; a batch
    of 512 is gathered in less time than from the ring, whose frames are in no cache.
    """

    def __init__(
        self,
        capacity_frames: int,
        frame_shape: tuple[int, ...],
        dtype: np.typing.DTypeLike = np.uint8,
    ) -> None:
        super().__init__(capacity_frames, frame_shape, dtype)
        self._packed: list[bytes] = [b""] * capacity_frames
        self._packed_nbytes = 0
        self._frame_nbytes = int(np.prod(frame_shape)) * self._dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes allocated for what is held now, Python's own included."""
        return self._packed_nbytes + sys.getsizeof(self._packed)

    def _put(self, start: int, frames: np.ndarray) -> None:
        for slot, frame in enumerate(np.ascontiguousarray(frames), start):
            self._replace(slot, lz4.block.compress(frame, store_size=False))

    def _replace(self, slot: int, packed: bytes) -> None:
        before = self._packed[slot]
        self._packed_nbytes += sys.getsizeof(packed) - (sys.getsizeof(before) if before else 0)
        self._packed[slot] = packed

    def gather(self, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """As RingFrameStore.gather."""
        slots = self._slots(numbers)
        if out is None:
            out = np.empty((*numbers.shape, *self._frame_shape), self._dtype)
        flat = out.reshape(-1, self._frame_nbytes // self._dtype.itemsize)
        for row, slot in zip(flat, slots.ravel().tolist(), strict=True):
            data = lz4.block.decompress(self._packed[slot], uncompressed_size=self._frame_nbytes)
            row[:] = np.frombuffer(data, self._dtype)
        return out

    def stacks(self, numbers: np.ndarray, allocate: Allocate) -> np.ndarray:
        return stacks_on_host(self, numbers, allocate)

    def check_valid(self) -> None:
        super().check_valid()
        assert self._packed_nbytes == sum(
            sys.getsizeof(packed) for packed in self._packed if packed
        )


FRAME_STORES: dict[str, type[RingFrameStore] | type[LZ4FrameStore]] = {
    "raw": RingFrameStore,
    "lz4": LZ4FrameStore,
}
"""By the setting `storage`; `cuda` is for a role to give, see BufferSettings.make."""
