"""Frames: messages there and back, and nothing but WireError for bytes that are none."""

from __future__ import annotations

import time
import tracemalloc

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actorrl.errors import WireError
from actorrl.wire import chunks, frames
from actorrl.wire.compression import Compressor
from actorrl.wire.frames import ArrayEntry, Header
from actorrl.wire.messages import PROTOCOL_VERSION, Kind, Message
from tests.wire.test_values import VALUES

DTYPES = [np.dtype(code) for code in ("?", "i1", "u1", "i2", "i4", "i8", "u8", "f2", "f4", "f8")]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))
)


def as_bytes(encoded) -> list[bytes]:
    return [
        bytes(np.ascontiguousarray(f)) if isinstance(f, np.ndarray) else bytes(f) for f in encoded
    ]


def travel(message: Message) -> Message:
    return frames.decode(as_bytes(frames.encode(message)))


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(list(Kind)),
    body=VALUES,
    arrays=st.dictionaries(st.sampled_from("abcd"), ARRAYS, max_size=3),
    number=st.integers(0, 2**63 - 1),
    slot=st.integers(-1, 100),
)
def test_a_message_comes_back_as_it_was(kind, body, arrays, number, slot):
    sent = Message(kind, "link", body, arrays, number, "role/3", 7, slot=slot)
    back = travel(sent)
    assert (back.kind, back.name, back.body) == (kind, "link", body)
    assert (back.number, back.source, back.incarnation, back.slot) == (number, "role/3", 7, slot)
    assert list(back.arrays) == list(arrays)
    for name, array in arrays.items():
        assert back.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(back.arrays[name], array)


def test_arrays_of_any_layout_come_back_in_order():
    array = np.arange(24).reshape(2, 3, 4)
    arrays = {"transposed": array.T, "strided": array[:, ::2], "reversed": array[::-1]}
    back = travel(Message(Kind.ITEM, "x", None, arrays))
    for name, sent in arrays.items():
        np.testing.assert_array_equal(back.arrays[name], sent)


def test_a_value_of_any_size_goes_with_the_header():
    for body in (
        b"x" * 100_000,
        ("not", "plain") * 10_000,
        None,
        "",
        [],
        {"deep": [[[[[[[[[1]]]]]]]]]},
    ):
        for arrays in ({}, {"a": np.arange(4)}):
            parts = as_bytes(frames.encode(Message(Kind.ITEM, "x", body, arrays)))
            assert len(parts) == 1 + len(arrays)
            got = frames.decode(parts)
            assert got.body == body and got.arrays.keys() == arrays.keys()
    with pytest.raises(WireError, match="more frames than"):
        frames.decode([*parts, b"\xc0"])


@pytest.mark.parametrize("body", [{"a": [1, 2**64]}, {"a": "\ud800"}])
def test_a_value_that_msgpack_cannot_say_is_named(body):
    with pytest.raises(WireError, match="cannot send"):
        frames.encode(Message(Kind.CALL, "x", body))


TOO_MUCH = {
    "too long a value": Message(Kind.REPLY, "m", "x" * 40_000),
    "too many arrays in a value": Message(Kind.REPLY, "m", [np.zeros(1)] * (frames.MAX_ARRAYS + 1)),
    "too many columns": Message(
        Kind.ITEM, "m", None, {str(i): np.zeros(1) for i in range(frames.MAX_ARRAYS + 1)}
    ),
    "too large an array": Message(Kind.CALL, "m", [[np.zeros(30_000)], {}]),
    "too long a name": Message(Kind.CALL, "m" * (frames.MAX_NAME + 1)),
}


@pytest.mark.parametrize("message", TOO_MUCH.values(), ids=TOO_MUCH)
def test_what_no_reader_takes_is_refused_by_who_would_send_it(message, monkeypatch):
    """There it would be dropped, and between hosts its sender be cut off in the end."""
    monkeypatch.setattr(frames, "MAX_HEADER_BYTES", 40_000)
    monkeypatch.setattr(chunks, "MAX_FRAME_BYTES", 200_000)
    with pytest.raises(WireError, match="cannot send"):
        frames.encode(message)
    with pytest.raises(WireError, match="cannot send"):
        frames.encode_compressed(message, Compressor())


def test_as_much_as_is_allowed_arrives():
    arrays = {str(i): np.zeros(1) for i in range(frames.MAX_ARRAYS)}
    parts = as_bytes(frames.encode(Message(Kind.ITEM, "m" * frames.MAX_NAME, None, arrays)))
    assert frames.decode(parts).arrays.keys() == arrays.keys()


def test_a_header_beyond_its_limit_is_refused(monkeypatch):
    parts = as_bytes(frames.encode(Message(Kind.ITEM, "x", b"x" * 100)))
    monkeypatch.setattr(frames, "MAX_HEADER_BYTES", 99)
    with pytest.raises(WireError, match="header of"):
        frames.decode(parts)


def test_received_arrays_are_views_that_cannot_be_written():
    parts = as_bytes(frames.encode(Message(Kind.ITEM, "x", None, {"a": np.arange(4)})))
    array = frames.decode(parts).arrays["a"]
    assert np.shares_memory(array, np.frombuffer(parts[-1], np.int64))
    assert not array.flags.writeable


def test_a_deadline_is_a_point_in_time():
    """However long a message lay unread."""
    deadline = time.monotonic() + 5
    assert travel(Message(Kind.CALL, "x", deadline=deadline)).deadline == pytest.approx(
        deadline, abs=0.002
    )
    assert travel(Message(Kind.CALL, "x", deadline=deadline - 10)).deadline < time.monotonic()
    assert travel(Message(Kind.CALL, "x")).deadline is None


@pytest.mark.parametrize("dtype", [object, ">f4", "M8[s]", "U3", "g", [("a", "i4")]])
def test_only_numbers_travel_in_arrays(dtype):
    with pytest.raises(WireError, match="only numbers"):
        frames.encode(Message(Kind.ITEM, "x", None, {"a": np.zeros(2, dtype)}))


def header(**changes) -> bytes:
    fields = {
        "protocol": PROTOCOL_VERSION,
        "kind": int(Kind.ITEM),
        "source": "a/0",
        "incarnation": 1,
        "name": "link",
        "number": 1,
        "deadline_ms": -1,
        "slot": 0,
        "generation": 0,
        "arrays": [],
        "packed": b"",
        "plain": None,
        **changes,
    }
    return msgspec.msgpack.encode(Header(**fields))


BEFORE_ARRAYS = header()[: -len(msgspec.msgpack.encode([[], b"", None])[1:])]


def entry(dtype="<f4", shape=(2,), offset=-1, name="a") -> list[ArrayEntry]:
    return [ArrayEntry(name, dtype, tuple(shape), offset)]


FLOATS = b"\0" * 8
MALFORMED = {
    "no frame": [],
    "no header": [b""],
    "another protocol": [header(protocol=PROTOCOL_VERSION + 1)],
    "an unknown kind": [header(kind=99)],
    "a field too few": [msgspec.msgpack.encode([1, 2, "a"])],
    "text for a number": [header(number="x")],
    "a sender's name beyond its limit": [header(source="x" * (frames.MAX_NAME + 1))],
    "a link's name beyond its limit": [header(name="x" * (frames.MAX_NAME + 1))],
    "too many arrays": [
        header(arrays=entry(shape=(0,), name="") * (frames.MAX_ARRAYS + 1)),
        *[b""] * (frames.MAX_ARRAYS + 1),
    ],
    "an array missing": [header(arrays=entry())],
    "an array too many": [header(), FLOATS],
    "too few bytes": [header(arrays=entry(shape=(3,))), FLOATS],
    "too many bytes": [header(arrays=entry(shape=(1,))), FLOATS],
    "objects": [header(arrays=entry(dtype="|O")), FLOATS],
    "an unknown dtype": [header(arrays=entry(dtype="nonsense")), FLOATS],
    "a negative size": [header(arrays=entry(shape=(-2,))), FLOATS],
    "two negative sizes": [header(arrays=entry(shape=(-1, -2))), FLOATS],
    "a product that overflows": [header(arrays=entry(shape=(2**32, 2**32))), FLOATS],
    "a huge empty array": [header(arrays=entry(shape=(0, 2**62))), b""],
    "too many dimensions": [header(arrays=entry(shape=(1,) * 17)), b"\0" * 4],
    "a slab where there is none": [header(generation=1, arrays=entry(offset=0))],
    "a place in no slab": [header(arrays=entry(offset=0))],
    "a damaged value": [header(packed=b"\xc1")],
    "a value cut short": [header()[:-1]],
    "an extension in a plain value": [header(plain=[msgspec.msgpack.Ext(1, b"\0" * 4)])],
    "a key that is none": [header()[:-1] + b"\x81\x80\x01"],
    "an array in the value that is not there": [header(packed=b"\xd6\x01\x05\x00\x00\x00")],
}


@pytest.mark.parametrize("parts", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_message_is_refused(parts):
    with pytest.raises(WireError):
        frames.decode(parts)


@pytest.mark.parametrize(
    ("offset", "shape"), [(64, (241,)), (-64, (1,)), (32, (1,)), (2**62, (1,)), (1024, (1,))]
)
def test_a_place_outside_of_the_slab_is_refused(offset, shape):
    slab = np.zeros(1024, np.uint8)
    parts = [header(generation=1, arrays=entry(offset=offset, shape=shape))]
    with pytest.raises(WireError):
        frames.decode(parts, lambda *_: slab)


def test_sizes_are_checked_before_anything_is_allocated():
    claims = [
        [header(arrays=entry(shape=(2**28,))), FLOATS],
        [header(arrays=entry(shape=(0, 2**40, 2**20))), b""],
        [header(packed=b"\xdd\xff\xff\xff\xff")],
        [header()[:-1] + b"\xdd\xff\xff\xff\xff"],
        [BEFORE_ARRAYS + b"\xdd\xff\xff\xff\xff"],
        [BEFORE_ARRAYS + b"\x91\x94\xa1a\xa3<f4\xdd\xff\xff\xff\xff"],
        [b"\xdd\xff\xff\xff\xff"],
        [header(packed=b"\xc9\xff\xff\xff\xff\x02")],
    ]
    tracemalloc.start()
    try:
        for parts in claims:
            with pytest.raises(WireError):
                frames.decode(parts)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
