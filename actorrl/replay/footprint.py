"""How much memory a buffer will take, known before there is one, with the arithmetic in words."""

from __future__ import annotations

import math
from typing import NamedTuple

from actorrl.replay.buffer import BufferSettings

_REWARD_AND_DISCOUNT = 2 * 4  # float32 each
_FRAME_NUMBER = 8  # int64
_TREE_NODE = 8  # float64
_LZ4_SHRINKS = 4  # times at least; Atari's frames shrink 9 to 27 times


class Footprint(NamedTuple):
    num_bytes: int
    arithmetic: str


def footprint(
    settings: BufferSettings, obs_bytes: int, action_bytes: int, frame_stack: int
) -> Footprint:
    """Of a full buffer. `obs_bytes`: of one observation, of one frame where frames are stacked."""
    rows, frames = settings.capacity, settings.num_frames
    both = 2 * (frame_stack * _FRAME_NUMBER if frames else obs_bytes)  # and the one after it
    row_bytes = both + action_bytes + _REWARD_AND_DISCOUNT
    parts = [f"{rows:,} rows x {row_bytes:,} B"]
    total = rows * row_bytes
    if frames:
        frame_bytes, assumed = _of_a_frame(settings.storage, obs_bytes)
        parts.append(f"{frames:,} frames x {frame_bytes:,} B{assumed}")
        total += frames * frame_bytes
    if settings.alpha is not None:
        tree_bytes = _tree_bytes(rows)
        parts.append(f"{tree_bytes:,} B of priorities")
        total += tree_bytes
    return Footprint(total, f"{' + '.join(parts)} = {total:,} B")


def _of_a_frame(storage: str, obs_bytes: int) -> tuple[int, str]:
    """What a frame takes of the host's memory, and why it is less than its size."""
    if storage == "lz4":
        return math.ceil(obs_bytes / _LZ4_SHRINKS), f" (storage lz4: 1/{_LZ4_SHRINKS} assumed)"
    if storage == "cuda":
        return 0, f" (storage cuda: {obs_bytes:,} B each on the GPU)"
    return obs_bytes, ""


def _tree_bytes(rows: int) -> int:
    """A binary tree over the next power of two."""
    return 2 * (1 << max(1, (rows - 1).bit_length())) * _TREE_NODE
