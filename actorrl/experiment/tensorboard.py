"""TensorBoard event files, written directly.

The format is small: records of length and checksum (TFRecord) around protocol-buffer messages
`Event{wall_time, step, summary{value{tag, simple_value}}}`. tensorboardX would do it, too, but it
imports torch where torch is installed: 1.9 s before the first row of a run, against none.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

MAX_FLOAT32 = 3.4028234e38


class EventFile:
    """One events.out.tfevents file in `folder`, made at the first row."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None

    def write(self, step: int, values: Mapping[str, float], wall_time: float | None = None) -> None:
        """Append one event with a scalar for each of `values`."""
        now = time.time() if wall_time is None else wall_time
        start = b"" if self._path else _record(_double(1, now) + _text(3, "brain.Event:2"))
        if self._path is None:
            self._path = _free_path(self._folder, now)
        summary = b"".join(_bytes(1, _scalar(tag, value)) for tag, value in values.items())
        event = _double(1, now) + _varint_field(2, step) + _bytes(5, summary)
        with open(self._path, "ab") as file:
            file.write(start + _record(event))


def _free_path(folder: Path, now: float) -> Path:
    stem = f"events.out.tfevents.{int(now)}.{socket.gethostname()}.{os.getpid()}"
    number = 0
    while (path := folder / f"{stem}.{number}").exists():
        number += 1
    return path


# ---- protocol buffers: a field is its number and wire type, then the value ----------------------


def _scalar(tag: str, value: float) -> bytes:
    return (
        _text(1, tag) + _key(2, 5) + struct.pack("<f", max(-MAX_FLOAT32, min(value, MAX_FLOAT32)))
    )


def _double(number: int, value: float) -> bytes:
    return _key(number, 1) + struct.pack("<d", value)


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes) -> bytes:
    return _key(number, 2) + _varint(len(value)) + value


def _varint_field(number: int, value: int) -> bytes:
    return _key(number, 0) + _varint(value)


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first, the eighth set on all but the last."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


# ---- TFRecord: length, its checksum, data, its checksum -----------------------------------------


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked_crc(length) + data + _masked_crc(data)


def _masked_crc(data: bytes) -> bytes:
    crc = _crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _crc32c(data: Iterable[int]) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]
