"""A data message as ZeroMQ frames, and back: `[header][array]...`, arrays without copies.

The header is msgpack and holds everything else: who speaks, which incarnation, which call or link,
the table of arrays (name, dtype, shape, place), and the value. An array is a frame of its own, or a
stretch of a slab of shared memory that both sides have mapped; between hosts its frame may be
compressed. Ownership: a sender may not write to an array after handing it over; a receiver's view
keeps the whole message alive, so whoever stores must copy.

Every number is checked against what has arrived before anything is allocated or viewed. What a
reader would refuse is not sent: it would be dropped, and nobody would say so.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from actorrl.errors import WireError
from actorrl.wire import chunks, values
from actorrl.wire.compression import LZ4, MAX_UNPACKED_BYTES, RAW, Compressor, unpack
from actorrl.wire.messages import PROTOCOL_VERSION, Kind, Message

MAX_HEADER_BYTES = 64 * 1024 * 1024
MAX_NAME = 256  # characters of an actor's name, a link's or a method's
MAX_ARRAYS = 1024
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 1 << 48  # of one array, counting an empty dimension as 1: NumPy's own limit is near
_DTYPES = {
    np.dtype(code).str: np.dtype(code)
    for code in ("?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "F", "D")
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}  # dearer to ask NumPy for
_KINDS = {int(kind): kind for kind in Kind}
_NONE: list[np.ndarray] = []

Buffer = bytes | memoryview | np.ndarray
_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
# (source, incarnation, link, generation) -> the slab's bytes
OpenSlab = Callable[[str, int, str, int], np.ndarray]


class ArrayEntry(msgspec.Struct, array_like=True, gc=False):
    """One array: its name (empty for an array inside the value), dtype, shape, offset in the slab,
    or -1 when it is the next frame, and how that frame is compressed."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    codec: int = RAW


class Header(msgspec.Struct, array_like=True, gc=False):
    protocol: int
    kind: int
    source: _Name
    incarnation: int
    name: _Name
    number: int
    deadline_ms: int  # on the host's monotonic clock, which its processes share; -1: none.
    # Between hosts it is what remained when the message was sent
    slot: int
    generation: int  # of the slab; 0: none
    arrays: Annotated[list[ArrayEntry], msgspec.Meta(max_length=MAX_ARRAYS)]
    packed: bytes  # the value as `values` packs it; empty: msgpack has all of it as it is, in
    plain: Any  # this, so that it need not be encoded twice


def _no_extension(code: int, data: memoryview) -> Any:
    raise ValueError(f"extension {code} in a plain value")


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header, ext_hook=_no_extension)


def encode(message: Message, generation: int = 0, offsets: list[int] | None = None) -> list[Buffer]:
    """The frames of a message. `offsets` says where in the slab `message.arrays` already lie."""
    # a point in time and not what remains: a message may wait long before it is decoded
    header, inner = _header(message, generation)
    if message.deadline is not None:
        header.deadline_ms = int(message.deadline * 1000)
    frames: list[Buffer] = [b""]
    for array in inner:
        header.arrays.append(_entry("", array, -1))
        frames.append(_raw(array))
    for index, (name, array) in enumerate(message.arrays.items()):
        header.arrays.append(_entry(name, array, -1 if offsets is None else offsets[index]))
        if offsets is None:
            frames.append(_raw(array))
    frames[0] = _encoded(header)
    return frames


def encode_compressed(message: Message, compressor: Compressor) -> tuple[list[Buffer], int]:
    """The frames of a message to another host, and the bytes that they hold when unpacked."""
    header, inner = _header(message, 0)
    if message.deadline is not None:
        header.deadline_ms = max(0, int((message.deadline - time.monotonic()) * 1000))
    frames: list[Buffer] = [b""]
    room = MAX_UNPACKED_BYTES
    raw_nbytes = 0
    for name, array in itertools.chain((("", array) for array in inner), message.arrays.items()):
        entry = _entry(name, array, -1)
        packed = compressor.shrink(message.name, name, array, room)
        if packed is not None:
            entry.codec = LZ4
            room -= array.nbytes
        header.arrays.append(entry)
        frames.append(_raw(array) if packed is None else packed)
        raw_nbytes += array.nbytes
    frames[0] = _encoded(header)
    return frames, raw_nbytes + len(frames[0])


def _header(message: Message, generation: int) -> tuple[Header, list[np.ndarray]]:
    """Without deadline and arrays yet; and the arrays inside the value."""
    plain, packed, inner = message.body, b"", _NONE
    if not values.is_plain(plain):
        plain, (packed, inner) = None, values.pack(plain)
    header = Header(
        PROTOCOL_VERSION, message.kind, message.source, message.incarnation, message.name,
        message.number, -1, message.slot, generation, [], packed, plain,
    )  # fmt: skip
    return header, inner


def _encoded(header: Header) -> bytes:
    try:
        encoded = _encoder.encode(header)
    except (OverflowError, UnicodeError):
        values.pack(header.plain)  # says where
        raise
    num_arrays = len(header.arrays)
    is_named = len(header.name) <= MAX_NAME
    if len(encoded) > MAX_HEADER_BYTES or num_arrays > MAX_ARRAYS or not is_named:
        raise WireError(
            f"cannot send {header.name[:MAX_NAME]!r}: {len(encoded)} bytes beside {num_arrays}"
            f" arrays, at most {MAX_HEADER_BYTES} beside {MAX_ARRAYS}, and a name of {MAX_NAME}"
            " characters; put numbers into arrays, few and large"
        )
    return encoded


def check_sendable(arrays: dict[str, np.ndarray]) -> None:
    """Raises WireError naming the array that cannot travel; called before a slab is touched."""
    for name, array in arrays.items():
        if array.dtype not in _CODES:
            raise _not_sendable(name, array)


def _entry(name: str, array: np.ndarray, offset: int) -> ArrayEntry:
    code = _CODES.get(array.dtype)
    if code is None:
        raise _not_sendable(name, array)
    return ArrayEntry(name, code, array.shape, offset)


def _not_sendable(name: str, array: np.ndarray) -> WireError:
    return WireError(f"cannot send array {name!r} of dtype {array.dtype}: only numbers travel")


def _raw(array: np.ndarray) -> Buffer:
    """Raises WireError for an array that is too large for one frame."""
    nbytes = array.nbytes
    if nbytes > chunks.MAX_FRAME_BYTES:
        raise WireError(f"cannot send an array of {nbytes} bytes, at most {chunks.MAX_FRAME_BYTES}")
    if nbytes == 0 or array.ndim == 0:
        return array.tobytes()
    return array if array.flags.c_contiguous else array.copy()


def decode(frames: list[Any], open_slab: OpenSlab | None = None, outside: bool = False) -> Message:
    """The message in `frames`; its arrays are views. Raises WireError, and nothing else, for bytes
    that are not a message of this protocol. `outside` says that it comes from another host."""
    if not frames:
        raise WireError("a message has at least 1 frame")
    header = _decode_header(frames[0])
    slab = None
    if header.generation:
        if open_slab is None:
            raise WireError("a slab was named where none can be opened")
        slab = open_slab(header.source, header.incarnation, header.name, header.generation)
    named: dict[str, np.ndarray] = {}
    inner: list[np.ndarray] = []
    if header.arrays or len(frames) > 1:
        named, inner = _decode_arrays(header.arrays, frames, slab)
    return Message(
        _KINDS[header.kind],
        header.name,
        values.unpack(header.packed, inner) if header.packed else header.plain,
        named,
        header.number,
        header.source,
        header.incarnation,
        _deadline(header.deadline_ms, outside),
        header.slot,
    )


def _deadline(deadline_ms: int, outside: bool) -> float | None:
    if deadline_ms < 0:
        return None
    return deadline_ms / 1000 + (time.monotonic() if outside else 0.0)


def _decode_header(frame: Any) -> Header:
    if len(frame) > MAX_HEADER_BYTES:
        raise WireError(f"header of {len(frame)} bytes, at most {MAX_HEADER_BYTES}")
    try:
        header = _decoder.decode(frame)
    except Exception as error:  # also TypeError, for a key that is none
        raise WireError(f"not a header: {type(error).__name__}: {error}") from None
    if header.protocol != PROTOCOL_VERSION:
        raise WireError(f"protocol {header.protocol}, this is {PROTOCOL_VERSION}")
    if header.kind not in _KINDS:
        raise WireError(f"a message of kind {header.kind}")
    return header


def _decode_arrays(
    entries: list[ArrayEntry], frames: list[Any], slab: np.ndarray | None
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    next_frame = 1
    named: dict[str, np.ndarray] = {}
    inner: list[np.ndarray] = []
    room = MAX_UNPACKED_BYTES
    for entry in entries:
        count = _checked_count(entry.name, entry.dtype, entry.shape)
        if entry.offset >= 0:
            array = _from_slab(entry, count, slab)
        else:
            if next_frame >= len(frames):
                raise WireError("fewer frames than the array table names")
            frame = frames[next_frame]
            next_frame += 1
            if entry.codec != RAW:
                room -= count
                frame = _unpacked(entry, count, frame, room)
            array = _from_frame(entry, count, frame)
        if entry.name:
            array.flags.writeable = False  # whether it came as a frame or in a slab
            named[entry.name] = array
        else:
            inner.append(array)
    if next_frame != len(frames):
        raise WireError("more frames than the array table names")
    return named, inner


def array_nbytes(name: str, dtype: str, shape: Sequence[int]) -> int:
    """The bytes of such an array. Raises WireError if none is like that."""
    return _checked_count(name, dtype, shape) * _DTYPES[dtype].itemsize


def _checked_count(name: str, dtype: str, shape: Sequence[int]) -> int:
    if dtype not in _DTYPES:
        raise WireError(f"array {name!r} has dtype {dtype!r}: only numbers travel")
    if len(shape) > MAX_DIMENSIONS or (shape and min(shape) < 0):
        raise WireError(f"array {name!r} has shape {shape}")
    count = math.prod(shape)
    largest = count or math.prod(size or 1 for size in shape)
    if largest > MAX_ELEMENTS:
        raise WireError(f"array {name!r} has shape {shape}, which is no array's")
    return count


def _unpacked(entry: ArrayEntry, count: int, frame: Any, room: int) -> bytes:
    if entry.codec != LZ4 or entry.dtype != "|u1":
        raise WireError(f"array {entry.name!r} of {entry.dtype} has codec {entry.codec}")
    if room < 0:
        raise WireError(f"compressed arrays of more than {MAX_UNPACKED_BYTES} bytes")
    return unpack(frame, count)


def _from_frame(entry: ArrayEntry, count: int, frame: Any) -> np.ndarray:
    dtype = _DTYPES[entry.dtype]
    if len(frame) != count * dtype.itemsize:
        raise WireError(
            f"array {entry.name!r}: {len(frame)} bytes came for shape {entry.shape} of {dtype}"
        )
    return np.ndarray(entry.shape, dtype, frame)


def _from_slab(entry: ArrayEntry, count: int, slab: np.ndarray | None) -> np.ndarray:
    dtype = _DTYPES[entry.dtype]
    end = entry.offset + count * dtype.itemsize
    if slab is None or end > slab.nbytes or entry.offset % 64:
        raise WireError(f"array {entry.name!r}: no such place in the slab")
    return np.ndarray(entry.shape, dtype, slab, entry.offset)
