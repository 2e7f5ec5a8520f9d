"""Plain Python values to bytes and back, with arrays left out of the bytes.

What may be sent: None, numbers, text, bytes, lists, dicts, tuples, NumPy arrays and scalars, and
types that a room registered (actor references). Anything else is an error that names the type and
the place. Nothing is ever pickled here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec
import numpy as np

from actorrl.errors import WireError

_ARRAY = 1
_TUPLE = 2
_FIRST_REGISTERED = 16
_MAX_DEPTH = 64
_SCALARS = frozenset({str, float, bool, bytes, int, type(None)})
_TEXT = frozenset({str})
_PLAIN_DEPTH = 8
_INT_RANGE = range(-(2**63), 2**64)

_encoder = msgspec.msgpack.Encoder()
_extensions: dict[type, tuple[int, Callable[[Any], bytes]]] = {}
_decoders: dict[int, Callable[[bytes], Any]] = {}


def register(
    code: int, cls: type, encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]
) -> None:
    """Let instances of `cls` travel inside values. Called once, at a room's import."""
    assert code >= _FIRST_REGISTERED and code not in _decoders, code
    _extensions[cls] = (code, encode)
    _decoders[code] = decode


def pack(value: Any) -> tuple[bytes, list[np.ndarray]]:
    """The value as msgpack bytes, and the arrays found in it, in order.

    Raises WireError naming the type and path of what cannot be sent.
    """
    if value is None:
        return b"\xc0", []
    arrays: list[np.ndarray] = []
    try:
        if is_plain(value):  # most are, and calls and credits are many
            return _encoder.encode(value), arrays
    except (OverflowError, UnicodeError):
        pass  # what follows says where
    try:
        return _encoder.encode(_lower(value, arrays, "value", 0)), arrays
    except (OverflowError, UnicodeError) as error:  # a key beyond 64 bits, a lone surrogate
        raise WireError(f"cannot send this value: {error}") from None


def is_plain(value: Any, depth: int = _PLAIN_DEPTH) -> bool:
    """Whether msgpack has all of it as it is. Only so deep: what it does not look at is not."""
    cls = type(value)
    if cls in _SCALARS:
        return True
    if depth == 0:
        return False
    if cls is list:
        return _are_plain(value, depth - 1)
    if cls is dict:
        return _TEXT.issuperset(map(type, value)) and _are_plain(value.values(), depth - 1)
    return False


def _are_plain(items: Collection[Any], depth: int) -> bool:
    if _SCALARS.issuperset(map(type, items)):
        return True
    # no generator: it would cost as much as the rest of a call's arguments
    for item in items:  # noqa: SIM110
        if not is_plain(item, depth):
            return False
    return True


def _lower(value: Any, arrays: list[np.ndarray], path: str, depth: int) -> Any:
    cls = type(value)
    if cls in (str, float, bool, bytes, type(None)):
        return value
    if cls is int:
        if value not in _INT_RANGE:
            raise WireError(f"cannot send {path}: the integer does not fit into 64 bits")
        return value
    if depth >= _MAX_DEPTH:
        raise WireError(f"cannot send {path}: nested deeper than {_MAX_DEPTH}")
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return msgspec.msgpack.Ext(_ARRAY, (len(arrays) - 1).to_bytes(4, "little"))
    if isinstance(value, np.generic):
        return _lower(value.item(), arrays, path, depth + 1)
    if isinstance(value, dict):
        return {
            _key(key, path): _lower(item, arrays, f"{path}[{key!r}]", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, tuple):
        items = [_lower(item, arrays, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        return msgspec.msgpack.Ext(_TUPLE, _encoder.encode(items))
    if isinstance(value, list):
        return [_lower(item, arrays, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if cls in _extensions:
        code, encode = _extensions[cls]
        return msgspec.msgpack.Ext(code, encode(value))
    for plain in (str, int, float, bytes):  # subclasses: enums, numpy strings
        if isinstance(value, plain):
            return plain(value)  # type: ignore[arg-type]
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise WireError(
        f"cannot send {path}: it is a {cls.__module__}.{cls.__qualname__}; what travels between"
        " actors is numbers, text, bytes, lists, dicts, tuples, arrays and actor references"
    )


def _key(key: Any, path: str) -> Any:
    if isinstance(key, np.generic):
        key = key.item()
    if isinstance(key, (str, int, bool, float)):
        return key
    raise WireError(
        f"cannot send {path}: its key {key!r} is a {type(key).__name__}, not text or number"
    )


def unpack(payload: bytes | memoryview, arrays: list[np.ndarray]) -> Any:
    """The inverse of `pack`. Raises WireError for bytes that are no value."""
    try:
        return (_decoder if not arrays else _decoder_with(arrays)).decode(payload)
    except Exception as error:  # also whatever a registered type's decoder trips over
        raise WireError(f"not a value: {type(error).__name__}: {error}") from None


def _decoder_with(arrays: list[np.ndarray]) -> msgspec.msgpack.Decoder:
    """One that knows the arrays by their numbers."""

    def extension(code: int, data: memoryview) -> Any:
        if code == _ARRAY:
            return arrays[int.from_bytes(data, "little")]
        if code == _TUPLE:
            # Another decoder, not this one: a circle would keep the arrays until Python looks.
            items = (_decoder_with(arrays) if arrays else _decoder).decode(data)
            if not isinstance(items, list):
                raise ValueError("a tuple that holds no list")
            return tuple(items)
        return _decoders[code](bytes(data))

    return msgspec.msgpack.Decoder(ext_hook=extension)


_decoder = _decoder_with([])
