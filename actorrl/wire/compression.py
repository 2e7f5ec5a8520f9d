"""LZ4 for arrays that travel between hosts.

Observations of bytes shrink to a fraction in less time than the network takes for them; floats do
not. What does not shrink goes as it is, and is tried again only now and then.
"""

from __future__ import annotations

from typing import Any

import lz4.block
import numpy as np

from actorrl.errors import WireError

RAW, LZ4 = 0, 1  # codecs, as the array table names them
MIN_BYTES = 4096  # smaller arrays cost more than they give
MAX_UNPACKED_BYTES = 256 * 1024 * 1024  # of one message's compressed arrays
_MAX_RATIO = 255  # LZ4 cannot say more than so many bytes with one
_WORTH_IT = 0.9
_SKIPS = 15  # arrays of a name that go untried after one that did not shrink
_MAX_NAMES = 1024


class Compressor:
    """One sender's; remembers which arrays do not shrink."""

    def __init__(self) -> None:
        self._skips: dict[tuple[str, str], int] = {}

    def shrink(self, link: str, name: str, array: np.ndarray, room: int) -> bytes | None:
        """The compressed bytes of `array`, or None if it had better go as it is. `room` is what is
        left of `MAX_UNPACKED_BYTES`."""
        if array.dtype != np.uint8 or not MIN_BYTES <= array.nbytes <= room:
            return None
        key = (link, name)
        skips = self._skips.get(key, 0)
        if skips:
            self._skips[key] = skips - 1
            return None
        packed: bytes = lz4.block.compress(np.ascontiguousarray(array), store_size=False)
        if len(packed) < _WORTH_IT * array.nbytes:
            return packed
        if len(self._skips) < _MAX_NAMES:
            self._skips[key] = _SKIPS
        return None


def unpack(frame: Any, nbytes: int) -> bytes:
    """The `nbytes` bytes that were compressed into `frame`. Raises WireError before anything is
    allocated if it cannot hold so many."""
    if nbytes > MAX_UNPACKED_BYTES or nbytes > len(frame) * _MAX_RATIO:
        raise WireError(f"{len(frame)} compressed bytes are said to hold {nbytes}")
    try:
        data: bytes = lz4.block.decompress(frame, uncompressed_size=nbytes)
    except (lz4.block.LZ4BlockError, ValueError, OverflowError) as error:
        raise WireError(f"not LZ4: {error}") from None
    if len(data) != nbytes:
        raise WireError(f"{len(data)} bytes came out of LZ4 instead of {nbytes}")
    return data
