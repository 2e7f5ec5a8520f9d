"""The ring of transitions that both buffers share, and its eviction together with the frames.

Rows have ids: consecutive int64 numbers, stamped with the generation of the buffer, so that an id
that was handed out before a restart of the shard never names a row of the new one. The row with
id i lies in slot i % capacity. The held rows are always first_id .. next_id - 1: the oldest go
first, some of them early when their frames were overwritten.

Letters: N rows, F frames, B environments of a fragment, k frames of a stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from typing import NamedTuple

import numpy as np

from actorrl import copies
from actorrl.data.allocate import Allocate
from actorrl.data.columns import FRAMES, NEXT_OBS, NEXT_OBS_FRAMES, OBS, OBS_FRAMES
from actorrl.replay.frame_store import FrameStore

FRAME_COLUMNS = {OBS_FRAMES: OBS, NEXT_OBS_FRAMES: NEXT_OBS}
"""Columns [N, k] of frame numbers, and the column of stacks that a sample has in their place."""

GENERATION_BITS = 40
"""Bits of an id that count rows; the generation is above them."""

MAX_SHARED_FRACTION = 1 / 8
"""Frames of an earlier fragment are shared only while they are younger than this part of the
store. A row is evicted together with everything before it, so a row that leaned on old frames
would take the younger rows of others with it."""


class Block(NamedTuple):
    """Rows up to `end_id` (exclusive) need frame `min_frame`, and no older one."""

    end_id: int
    min_frame: int


class RowStore:
    """Columns of the newest rows, at most `capacity`, and the frames that they name.

    Column names, dtypes and shapes are those of the first `add`; later ones must agree.
    """

    def __init__(
        self, capacity: int, frame_store: FrameStore | None = None, generation: int = 0
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity: {capacity} is no positive number of rows")
        self.capacity = capacity
        self.frames = frame_store
        self.first_id = self.next_id = generation << GENERATION_BITS
        self._base_id = self.first_id
        self.columns: dict[str, np.ndarray] = {}
        # Strictly rising in end_id and min_frame. A block whose rows need older frames than the
        # blocks before it swallows them: they cannot outlive it.
        self._blocks: deque[Block] = deque()
        self._tails: dict[Hashable, np.ndarray] = {}

    def __len__(self) -> int:
        return self.next_id - self.first_id

    @property
    def nbytes(self) -> int:
        """Bytes allocated for columns and frames."""
        frames = 0 if self.frames is None else self.frames.nbytes
        return frames + sum(column.nbytes for column in self.columns.values())

    def slots(self, ids: np.ndarray) -> np.ndarray:
        """Slots of held ids."""
        return ids % self.capacity

    def holds(self, ids: np.ndarray) -> np.ndarray:
        """Which of `ids` name rows that are still held."""
        return (ids >= self.first_id) & (ids < self.next_id)

    def add(
        self,
        rows: Mapping[str, np.ndarray],
        frames: np.ndarray | None = None,
        stream: Hashable | None = None,
        overlap: int = 0,
    ) -> np.ndarray:
        """Add `rows`, columns [N, ...], and return their ids [N].

        With `frames` [F, B, ...] the frame columns are indices into it, flattened (f * B + b);
        without, they are absolute numbers of held frames. Of `frames`, the first `overlap` are
        not stored again where they are the last ones that came from `stream`. The oldest rows go
        as the ring and the frames demand. ValueError, and nothing changed, if columns do not fit.
        """
        num_rows = self._check(rows)
        if frames is not None:
            numbers = self._store_frames(frames, stream, overlap)
            rows = {n: numbers[v] if n in FRAME_COLUMNS else v for n, v in rows.items()}
            self.evict_frameless()
        self._note_frames(rows, num_rows)
        ids = np.arange(self.next_id, self.next_id + num_rows)
        self._write(rows, num_rows)
        self.evict_frameless()
        return ids

    def evict_frameless(self) -> None:
        """Drop the rows, and all before them, whose frames are gone."""
        if self.frames is None:
            return
        while self._blocks and self._blocks[0].min_frame < self.frames.oldest:
            self.first_id = max(self.first_id, self._blocks.popleft().end_id)
        while self._blocks and self._blocks[0].end_id <= self.first_id:
            self._blocks.popleft()

    def gather(self, ids: np.ndarray, allocate: Allocate = np.empty) -> dict[str, np.ndarray]:
        """Columns [N, ...] of the held rows `ids`, copied to where `allocate(shape, dtype)` says;
        frame columns become stacks, which lie where the frames' store has them."""
        slots = self.slots(ids)
        batch: dict[str, np.ndarray] = {}
        for name, column in self.columns.items():
            if name in FRAME_COLUMNS and self.frames is not None:
                batch[FRAME_COLUMNS[name]] = self.frames.stacks(column[slots], allocate)
            else:
                out = allocate((len(slots), *column.shape[1:]), column.dtype)
                # "clip" changes no slot; the default mode would copy twice.
                batch[name] = np.take(column, slots, axis=0, out=out, mode="clip")
        if copies.COUNTING:
            copies.note_all("sample", batch)
        return batch

    def check_valid(self) -> None:
        """Assert the invariants: ids, blocks, and that every held row's frames are held."""
        assert self._base_id <= self.first_id <= self.next_id
        assert len(self) <= self.capacity
        if self.frames is None or not self.columns:
            return
        self.frames.check_valid()
        slots = self.slots(np.arange(self.first_id, self.next_id))
        for name in FRAME_COLUMNS.keys() & self.columns.keys():
            numbers = self.columns[name][slots]
            assert (numbers >= self.frames.oldest).all(), f"{name}: a held row's frame is gone"
            assert (numbers < self.frames.next).all(), f"{name}: a frame that never was"
        self._check_blocks()

    def _check_blocks(self) -> None:
        ends = [block.end_id for block in self._blocks]
        needs = [block.min_frame for block in self._blocks]
        assert ends == sorted(set(ends)) and needs == sorted(set(needs))
        assert not self._blocks or (ends[0] > self.first_id and ends[-1] == self.next_id)
        assert self._blocks or len(self) == 0 or not (FRAME_COLUMNS.keys() & self.columns.keys())

    def _check(self, rows: Mapping[str, np.ndarray]) -> int:
        """Number of rows in `rows`; ValueError naming the column that does not fit."""
        if not self.columns:
            self._allocate(rows)
        if rows.keys() != self.columns.keys():
            odd = sorted(rows.keys() ^ self.columns.keys())
            raise ValueError(f"columns differ from the first rows' by {odd}")
        num_rows = len(next(iter(rows.values())))
        if num_rows > self.capacity:
            raise ValueError(f"{num_rows} rows at once in a buffer of {self.capacity}")
        for name, column in self.columns.items():
            if len(rows[name]) != num_rows:
                raise ValueError(f"{name}: {len(rows[name])} rows where others have {num_rows}")
            if rows[name].shape[1:] != column.shape[1:]:
                raise ValueError(f"{name}: {rows[name].shape[1:]} after rows of {column.shape[1:]}")
            if not np.can_cast(rows[name].dtype, column.dtype, "same_kind"):
                raise ValueError(f"{name}: {rows[name].dtype} after rows of {column.dtype}")
        return num_rows

    def _allocate(self, rows: Mapping[str, np.ndarray]) -> None:
        if not rows:
            raise ValueError("rows without columns")
        for name, values in rows.items():
            is_frames = name in FRAME_COLUMNS and self.frames is not None
            if values.dtype == object:
                raise ValueError(f"{name}: an array of Python objects cannot be stored")
            dtype = np.dtype(np.int64) if is_frames else values.dtype
            self.columns[name] = np.zeros((self.capacity, *values.shape[1:]), dtype)

    def _write(self, rows: Mapping[str, np.ndarray], num_rows: int) -> None:
        start = self.next_id % self.capacity
        head = min(num_rows, self.capacity - start)
        for name, column in self.columns.items():
            column[start : start + head] = rows[name][:head]
            if head < num_rows:
                column[: num_rows - head] = rows[name][head:]
            if copies.COUNTING:
                copies.note("insert", name, column[:1].nbytes * num_rows)
        self.next_id += num_rows
        self.first_id = max(self.first_id, self.next_id - self.capacity)

    def _note_frames(self, rows: Mapping[str, np.ndarray], num_rows: int) -> None:
        """Remember the oldest frame that the `num_rows` rows about to be written need."""
        names = FRAME_COLUMNS.keys() & rows.keys()
        if self.frames is None or not names or num_rows == 0:
            return
        min_frame = min(int(rows[name].min()) for name in names)
        max_frame = max(int(rows[name].max()) for name in names)
        if min_frame < self.frames.oldest or max_frame >= self.frames.next:
            raise ValueError(
                f"rows name frames {min_frame}..{max_frame}, the store holds "
                f"{self.frames.oldest}..{self.frames.next - 1}"
            )
        while self._blocks and self._blocks[-1].min_frame >= min_frame:
            self._blocks.pop()
        self._blocks.append(Block(self.next_id + num_rows, min_frame))

    def _store_frames(
        self, frames: np.ndarray, stream: Hashable | None, overlap: int
    ) -> np.ndarray:
        """Keep `frames` [F, B, ...] where they are new; absolute numbers [F * B] of all."""
        assert self.frames is not None, "frames given to a buffer without a frame store"
        num_shared = overlap * frames.shape[1]
        flat = frames.reshape(-1, *frames.shape[2:])  # [F * B, ...]
        shared = self._shared_lead_in(flat, stream, num_shared)
        first = self.frames.add(flat[len(shared) :])
        if copies.COUNTING:
            copies.note("insert", FRAMES, flat[len(shared) :].nbytes)
        numbers = np.concatenate([shared, np.arange(first, first + len(flat) - len(shared))])
        if stream is not None and num_shared:
            self._tails[stream] = numbers[-num_shared:]
        return numbers

    def _shared_lead_in(
        self, flat: np.ndarray, stream: Hashable | None, num_shared: int
    ) -> np.ndarray:
        """Numbers of the stored frames that equal flat[:num_shared], none where they do not.

        The pixels are compared: a lost or repeated fragment then costs memory, never truth.
        """
        assert self.frames is not None
        none = np.empty(0, np.int64)
        tail = self._tails.get(stream, none)
        if len(tail) != num_shared or num_shared > len(flat) or num_shared == 0:
            return none
        next_after = self.frames.next + len(flat) - num_shared
        oldest_after = max(self.frames.oldest, next_after - self.frames.capacity)
        too_old = self.frames.next - int(self.frames.capacity * MAX_SHARED_FRACTION)
        if tail.min() < max(oldest_after, too_old):
            return none
        return tail if np.array_equal(self.frames.gather(tail), flat[:num_shared]) else none
