"""A data message as ZeroMQ frames, and back: `[header][payload][array]...`, without copies.

The header is msgpack and holds everything but the value: who speaks, which incarnation, which
call or link, and the table of arrays (name, dtype, shape, place). A small payload is in it. An
array is a frame of its own, or a stretch of a slab of shared memory that both sides have mapped;
between hosts its frame may be compressed. Ownership: a sender may not write to an array after
handing it over; a receiver's view keeps the whole message alive, so whoever stores must copy.

Every number is checked against what has arrived before anything is allocated or viewed.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from actorrl.errors import WireError
from actorrl.wire import values
from actorrl.wire.compression import LZ4, MAX_UNPACKED_BYTES, RAW, Compressor, unpack
from actorrl.wire.messages import PROTOCOL_VERSION, Kind, Message

MAX_HEADER_BYTES = 64 * 1024
MAX_NAME = 256  # characters of an actor's or a link's name
INLINE_BYTES = 1024  # a payload of so many goes with the header: each frame costs microseconds
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
MAX_ARRAYS = 1024
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 1 << 48  # of one array, counting an empty dimension as 1: NumPy's own limit is near
_DTYPES = {
    np.dtype(code).str: np.dtype(code)
    for code in ("?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "F", "D")
}
_KINDS = {int(kind): kind for kind in Kind}

Buffer = bytes | memoryview | np.ndarray
# (source, incarnation, link, generation) -> the slab's bytes
OpenSlab = Callable[[str, int, str, int], np.ndarray]


class ArrayEntry(msgspec.Struct, array_like=True, gc=False):
    """One array: its name (empty for an array inside the value), dtype, shape, offset in the slab,
    or -1 when it is the next frame, and how that frame is compressed."""

    name: str
    dtype: str
    shape: list[int]
    offset: int
    codec: int = RAW


class Header(msgspec.Struct, array_like=True, gc=False):
    protocol: int
    kind: int
    source: str
    incarnation: int
    name: str
    number: int
    deadline_ms: int  # on the host's monotonic clock, which its processes share; -1: none.
    # Between hosts it is what remained when the message was sent
    slot: int
    generation: int  # of the slab; 0: none
    arrays: list[ArrayEntry]
    inline: bytes = b""  # a small payload, in place of a frame of its own


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def encode(message: Message, generation: int = 0, offsets: list[int] | None = None) -> list[Buffer]:
    """The frames of a message. `offsets` says where in the slab `message.arrays` already lie."""
    payload, inner = values.pack(message.body)
    entries = []
    frames: list[Buffer] = []
    for array in inner:
        entries.append(_entry("", array, -1))
        frames.append(_raw(array))
    for index, (name, array) in enumerate(message.arrays.items()):
        entries.append(_entry(name, array, -1 if offsets is None else offsets[index]))
        if offsets is None:
            frames.append(_raw(array))
    # a point in time and not what remains: a message may wait long before it is decoded
    deadline_ms = -1 if message.deadline is None else int(message.deadline * 1000)
    return _head(message, deadline_ms, generation, entries, payload) + frames


def encode_compressed(message: Message, compressor: Compressor) -> tuple[list[Buffer], int]:
    """The frames of a message to another host, and the bytes that they hold when unpacked."""
    payload, inner = values.pack(message.body)
    entries = []
    frames: list[Buffer] = []
    room = MAX_UNPACKED_BYTES
    raw_nbytes = 0
    for name, array in itertools.chain((("", array) for array in inner), message.arrays.items()):
        entry = _entry(name, array, -1)
        packed = compressor.shrink(message.name, name, array, room)
        if packed is not None:
            entry.codec = LZ4
            room -= array.nbytes
        entries.append(entry)
        frames.append(_raw(array) if packed is None else packed)
        raw_nbytes += array.nbytes
    deadline_ms = -1
    if message.deadline is not None:
        deadline_ms = max(0, int((message.deadline - time.monotonic()) * 1000))
    head = _head(message, deadline_ms, 0, entries, payload)
    return head + frames, raw_nbytes + sum(map(len, head))


def _head(
    message: Message,
    deadline_ms: int,
    generation: int,
    arrays: list[ArrayEntry],
    payload: bytes,
) -> list[Buffer]:
    """The header, and the payload unless it is inside."""
    is_small = len(payload) <= INLINE_BYTES
    header = _encoder.encode(
        Header(
            PROTOCOL_VERSION,
            int(message.kind),
            message.source,
            message.incarnation,
            message.name,
            message.number,
            deadline_ms,
            message.slot,
            generation,
            arrays,
            payload if is_small else b"",
        )
    )
    return [header] if is_small else [header, payload]


def check_sendable(arrays: dict[str, np.ndarray]) -> None:
    """Raises WireError naming the array that cannot travel; called before a slab is touched."""
    for name, array in arrays.items():
        if array.dtype.str not in _DTYPES:
            raise _not_sendable(name, array)


def _entry(name: str, array: np.ndarray, offset: int) -> ArrayEntry:
    dtype = array.dtype.str
    if dtype not in _DTYPES:
        raise _not_sendable(name, array)
    return ArrayEntry(name, dtype, list(array.shape), offset)


def _not_sendable(name: str, array: np.ndarray) -> WireError:
    return WireError(f"cannot send array {name!r} of dtype {array.dtype}: only numbers travel")


def _raw(array: np.ndarray) -> Buffer:
    if array.nbytes == 0 or array.ndim == 0:
        return array.tobytes()
    return array if array.flags.c_contiguous else array.copy()


def decode(frames: list[Any], open_slab: OpenSlab | None = None, outside: bool = False) -> Message:
    """The message in `frames`; its arrays are views. Raises WireError, and nothing else, for bytes
    that are not a message of this protocol. `outside` says that it comes from another host."""
    if not frames:
        raise WireError("a message has at least 1 frame")
    header = _decode_header(frames[0])
    payload, first = _payload(header, frames)
    slab = None
    if header.generation:
        if open_slab is None:
            raise WireError("a slab was named where none can be opened")
        if len(header.source) > MAX_NAME or len(header.name) > MAX_NAME:
            raise WireError("a slab's names are shorter")
        slab = open_slab(header.source, header.incarnation, header.name, header.generation)
    named: dict[str, np.ndarray] = {}
    inner: list[np.ndarray] = []
    if header.arrays or len(frames) > first:
        named, inner = _decode_arrays(header.arrays, frames, first, slab)
    body = values.unpack(payload, inner)
    return Message(
        kind=_KINDS[header.kind],
        name=header.name,
        body=body,
        arrays=named,
        number=header.number,
        source=header.source,
        incarnation=header.incarnation,
        deadline=_deadline(header.deadline_ms, outside),
        slot=header.slot,
    )


def _payload(header: Header, frames: list[Any]) -> tuple[Any, int]:
    """The payload, and the index of the first frame that is an array's."""
    if header.inline:
        return header.inline, 1
    if len(frames) < 2:
        raise WireError("a message without a payload")
    if len(frames[1]) > MAX_PAYLOAD_BYTES:
        raise WireError(f"payload of {len(frames[1])} bytes, at most {MAX_PAYLOAD_BYTES}")
    return frames[1], 2


def _deadline(deadline_ms: int, outside: bool) -> float | None:
    if deadline_ms < 0:
        return None
    return deadline_ms / 1000 + (time.monotonic() if outside else 0.0)


def _decode_header(frame: Any) -> Header:
    if len(frame) > MAX_HEADER_BYTES:
        raise WireError(f"header of {len(frame)} bytes, at most {MAX_HEADER_BYTES}")
    try:
        header = _decoder.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"not a header: {error}") from None
    if header.protocol != PROTOCOL_VERSION:
        raise WireError(f"protocol {header.protocol}, this is {PROTOCOL_VERSION}")
    if header.kind not in _KINDS:
        raise WireError(f"a message of kind {header.kind}")
    if len(header.arrays) > MAX_ARRAYS:
        raise WireError(f"{len(header.arrays)} arrays, at most {MAX_ARRAYS}")
    return header


def _decode_arrays(
    entries: list[ArrayEntry], frames: list[Any], next_frame: int, slab: np.ndarray | None
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
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


def array_nbytes(name: str, dtype: str, shape: list[int]) -> int:
    """The bytes of such an array. Raises WireError if none is like that."""
    return _checked_count(name, dtype, shape) * _DTYPES[dtype].itemsize


def _checked_count(name: str, dtype: str, shape: list[int]) -> int:
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
