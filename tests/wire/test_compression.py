"""Compression: exact, worth it, and no way to make somebody allocate more than was allowed."""

from __future__ import annotations

import tracemalloc

import lz4.block
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actorrl.errors import WireError
from actorrl.wire import frames
from actorrl.wire.compression import MAX_UNPACKED_BYTES, MIN_BYTES, Compressor, unpack
from actorrl.wire.frames import LZ4, ArrayEntry
from actorrl.wire.messages import Kind, Message
from tests.wire.test_frames import as_bytes, header

ROOM = MAX_UNPACKED_BYTES
PATTERNS = st.builds(
    lambda unit, repeats: np.tile(unit, (repeats, 1, 1)),
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6)),
    st.integers(1, 400),
)


@settings(max_examples=100, deadline=None)
@given(array=PATTERNS, view=st.sampled_from(["as it is", "transposed", "strided", "reversed"]))
def test_arrays_of_bytes_come_back_as_they_were(array, view):
    views = {"transposed": array.T, "strided": array[::2], "reversed": array[::-1]}
    array = views.get(view, array)
    sent = Message(Kind.ITEM, "link", [array], {"obs": array, "other": np.arange(3.0)})
    parts, raw_nbytes = frames.encode_compressed(sent, Compressor())
    parts = as_bytes(parts)
    back = frames.decode(parts, outside=True)
    np.testing.assert_array_equal(back.arrays["obs"], array)
    np.testing.assert_array_equal(back.body[0], array)
    np.testing.assert_array_equal(back.arrays["other"], sent.arrays["other"])
    assert not back.arrays["obs"].flags.writeable
    assert sum(map(len, parts)) <= raw_nbytes


def test_only_bytes_from_a_size_on_are_compressed():
    compressor = Compressor()
    assert compressor.shrink("l", "a", np.zeros(MIN_BYTES, np.uint8), ROOM) is not None
    assert compressor.shrink("l", "b", np.zeros(MIN_BYTES - 1, np.uint8), ROOM) is None
    assert compressor.shrink("l", "c", np.zeros(MIN_BYTES, np.float32), ROOM) is None
    assert compressor.shrink("l", "d", np.zeros(MIN_BYTES, np.uint8), MIN_BYTES - 1) is None


def test_what_does_not_shrink_goes_as_it_is_and_is_tried_now_and_then():
    compressor = Compressor()
    noise = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8)
    smooth = np.zeros(20_000, np.uint8)
    assert compressor.shrink("link", "obs", noise, ROOM) is None
    assert compressor.shrink("link", "other", smooth, ROOM) is not None
    tries = [compressor.shrink("link", "obs", smooth, ROOM) is not None for _ in range(40)]
    assert not tries[0] and sum(tries) > 20


def compressed(count: int, frame: bytes, dtype: str = "|u1", codec: int = LZ4) -> list[bytes]:
    return [header(arrays=[ArrayEntry("a", dtype, [count], -1, codec)]), frame]


GOOD = lz4.block.compress(bytes(10_000), store_size=False)
MALFORMED = {
    "an unknown codec": compressed(10_000, GOOD, codec=2),
    "a negative codec": compressed(10_000, GOOD, codec=-1),
    "floats": compressed(1250, GOOD, dtype="<f8"),
    "too few bytes inside": compressed(10_001, GOOD),
    "too many bytes inside": compressed(9_999, GOOD),
    "no bytes": compressed(10_000, b""),
    "half of it": compressed(10_000, GOOD[: len(GOOD) // 2]),
    "no LZ4": compressed(10_000, b"\xff" * 100),
    "more than LZ4 can hold": compressed(256 * len(GOOD), GOOD),
    "more than is allowed": compressed(ROOM + 1, bytes(2_000_000)),
    "more than is allowed in all": [
        header(arrays=[ArrayEntry(name, "|u1", [ROOM // 2 + 1], -1, LZ4) for name in "ab"]),
        lz4.block.compress(bytes(ROOM // 2 + 1), store_size=False),
        bytes(1_000_000),
    ],
}


@pytest.mark.parametrize("parts", MALFORMED.values(), ids=MALFORMED)
def test_what_is_not_what_it_says_is_refused(parts):
    with pytest.raises(WireError):
        frames.decode(parts)


def test_a_bomb_is_refused_before_anything_is_allocated():
    tracemalloc.start()
    try:
        for nbytes in (ROOM, ROOM + 1, 1 << 62):
            with pytest.raises(WireError):
                unpack(bytes(1000), nbytes)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
