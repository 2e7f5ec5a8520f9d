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
        packed = math.ceil(obs_bytes / _LZ4_SHRINKS) if settings.storage == "lz4" else obs_bytes
        assumed = f" (storage lz4: 1/{_LZ4_SHRINKS} assumed)" if packed < obs_bytes else ""
        parts.append(f"{frames:,} frames x {packed:,} B{assumed}")
        total += frames * packed
    if settings.alpha is not None:
        tree_bytes = _tree_bytes(rows)
        parts.append(f"{tree_bytes:,} B of priorities")
        total += tree_bytes
    return Footprint(total, f"{' + '.join(parts)} = {total:,} B")


def _tree_bytes(rows: int) -> int:
    """A binary tree over the next power of two."""
    return 2 * (1 << max(1, (rows - 1).bit_length())) * _TREE_NODE
