"""Large frames in pieces, for connections on which anybody may knock.

Before a peer has shown its key, ZeroMQ already takes in a whole frame of it. So the largest frame
of a TCP socket is small, and what is larger goes in several: a piece of exactly `CHUNK_BYTES` is
continued in the next one, a shorter one is the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from actorrl.errors import WireError

CHUNK_BYTES = 1 << 20
MAX_FRAME_BYTES = 1 << 30  # within a host, where frames go whole


def split(frames: Iterable[Any]) -> list[Any]:
    """The frames, none longer than `CHUNK_BYTES`; nothing is copied."""
    parts: list[Any] = []
    for frame in frames:
        if nbytes(frame) < CHUNK_BYTES:
            parts.append(frame)
            continue
        view = memoryview(frame).cast("B")
        parts += [view[at : at + CHUNK_BYTES] for at in range(0, len(view) + 1, CHUNK_BYTES)]
    return parts


def join(parts: Iterable[Any]) -> list[Any]:
    """The inverse of `split`; what came whole is not copied. Raises WireError."""
    frames: list[Any] = []
    begun: list[Any] = []
    for part in parts:
        if len(part) == CHUNK_BYTES:
            begun.append(part)
        elif len(part) > CHUNK_BYTES:
            raise WireError(f"a piece of {len(part)} bytes, at most {CHUNK_BYTES}")
        elif begun:
            frames.append(b"".join([*begun, part]))
            begun = []
        else:
            frames.append(part)
    if begun:
        raise WireError("the message ends in the middle of a frame")
    return frames


def nbytes(frame: Any) -> int:
    """The length of bytes or of an array."""
    return int(frame.nbytes) if isinstance(frame, np.ndarray) else len(frame)
