"""Values: what may be sent comes back as it was; anything else is refused by name."""

from __future__ import annotations

import enum
import gc
import math
import weakref

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorrl.errors import WireError
from actorrl.wire import values

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(TEXT | st.integers(-5, 5), inner, max_size=4)
    ),
    max_leaves=20,
)


def travel(value):
    return values.unpack(*values.pack(value))


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_plain_values_come_back_with_the_same_types(value):
    back = travel(value)
    assert back == value
    assert repr(back) == repr(value)  # tuples stay tuples, True stays True


def test_arrays_come_back_in_their_places():
    value = {"a": [np.arange(3), (np.float32(2.5), np.zeros((2, 0)))], "b": np.array(7)}
    back = travel(value)
    assert (back["a"][0] == np.arange(3)).all()
    assert back["a"][1][0] == 2.5 and back["a"][1][1].shape == (2, 0)
    assert back["b"] == 7


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Word(str):
    pass


def test_subclasses_of_plain_types_travel_as_what_they_are():
    back = travel([Colour.RED, Level.HIGH, Word("w"), {Colour.RED: np.str_("s")}, bytearray(b"x")])
    assert back == ["red", 3, "w", {"red": "s"}, b"x"]
    assert [type(item) for item in back] == [str, int, str, dict, bytes]


def test_not_a_number_travels():
    assert math.isnan(travel(math.nan)) and travel(math.inf) == math.inf


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [1, object()]}, r"value\['a'\]\[1\].*builtins.object"),
        ({1, 2}, "builtins.set"),
        (lambda: 1, "function"),
        (1j, "complex"),
        (2**64, "64 bits"),
        ({2**70: 1}, "cannot send"),
        ({(1, 2): 3}, "tuple, not text or number"),
        ("\ud800", "cannot send"),
        ({"k\ud800": 1}, "cannot send"),
        ([("x\udfff",)], "cannot send"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(value, says):
    with pytest.raises(WireError, match=says):
        values.pack(value)


def test_a_value_that_holds_itself_is_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(WireError, match="nested deeper"):
        values.pack(loop)


ext = msgspec.msgpack.Ext
encode = msgspec.msgpack.encode


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",  # a list of four billion, of which none has come
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 5000,  # nested beyond any stack
        encode([1]) + b"\x00",
        encode(ext(1, (3).to_bytes(4, "little"))),  # an array that has not come
        encode(ext(2, encode(5))),  # a tuple that holds no list
        encode(ext(2, b"\xc1")),
        encode(ext(99, b"")),
        b"\x81\xd4\x01\x00\x01",  # an array as a key
    ],
)
def test_bytes_that_are_no_value_are_refused(payload):
    with pytest.raises(WireError):
        values.unpack(payload, [])


def test_arrays_go_with_the_last_who_holds_them():
    gc.disable()  # it would find what is held in a circle, too, but late
    try:
        array = np.zeros(1000)
        held = weakref.ref(array)
        value = travel({"state": (array, [array])})
        assert value["state"][0] is array
        del array, value
        assert held() is None
    finally:
        gc.enable()
