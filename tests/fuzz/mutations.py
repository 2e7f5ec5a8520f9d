"""Seeded mutations of bytes, of frames, and of plain values: what a decoder must survive."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

# first bytes of msgpack with long lengths behind them, extensions, and the ends of ranges
_TELLING = bytes.fromhex("007f808f90919fa0c0c1c6c9cbcfd3d4d8d9dbdddfe0ff")
_JUNK: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, -(2**63), 0.5, float("nan"), float("inf"), "", "x/y", "9" * 5000, b"",
    b"\xff", [], [[]], [1, 2], {}, {"a": 1}, (1, 2, 3), [[[[1]]]],
)  # fmt: skip


def mutated(data: bytes, draw: random.Random) -> bytes:
    """`data` with one to three changes."""
    changed = bytearray(data)
    for _ in range(1 + int(draw.random() * 3)):
        _change(changed, draw)
    return bytes(changed)


def _change(data: bytearray, draw: random.Random) -> None:
    at = int(draw.random() * (len(data) + 1))
    choice = draw.random()
    if choice < 0.3 and at < len(data):
        data[at] = int(draw.random() * 256)
    elif choice < 0.55 and at < len(data):
        data[at] = _TELLING[int(draw.random() * len(_TELLING))]
    elif choice < 0.65 and at < len(data):
        data[at] ^= 1 << int(draw.random() * 8)
    elif choice < 0.75:
        data[at:at] = draw.randbytes(1 + int(draw.random() * 4))
    elif choice < 0.83:
        del data[at : at + 1 + int(draw.random() * 4)]
    elif choice < 0.9:
        data[at:at] = data[at : at + int(draw.random() * 16)]
    elif choice < 0.95:
        del data[at:]
    elif choice < 0.96:
        data[at:at] = bytes((_TELLING[int(draw.random() * len(_TELLING))],)) * 600
    else:
        data += draw.randbytes(int(draw.random() * 8))


def mutated_frames(frames: Sequence[bytes], draw: random.Random) -> list[bytes]:
    """The frames with one of them changed; now and then one lost, doubled, or moved."""
    changed = list(frames)
    index = int(draw.random() * len(changed))
    choice = draw.random()
    if choice < 0.9:
        changed[index] = mutated(changed[index], draw)
    elif choice < 0.93:
        del changed[index]
    elif choice < 0.96:
        changed.insert(index, changed[-1])
    else:
        changed[index], changed[0] = changed[0], changed[index]
    return changed


def mutated_value(value: Any, draw: random.Random) -> Any:
    """A copy of nested dicts and lists with something in it replaced, lost, or doubled."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        changed = dict(value)
        key = tuple(changed)[int(draw.random() * len(changed))]
        if draw.random() < 0.1:
            del changed[key]
        else:
            changed[key] = mutated_value(changed[key], draw)
        return changed
    if isinstance(value, list) and value and draw.random() < 0.85:
        items = list(value)
        index = int(draw.random() * len(items))
        if draw.random() < 0.2:
            items.insert(index, items[index])
        else:
            items[index] = mutated_value(items[index], draw)
        return items
    return _JUNK[int(draw.random() * len(_JUNK))]
