"""Small words between processes of one host: one datagram of a Unix socket each.

ZeroMQ has a thread of its own on either side, and waking it costs more than the words. The elements
of streams and their credits are many and small (what is large lies in a slab), so they go without
it. A process has two boxes: one for elements, one for credits, so that whoever waits for answers
need not look at what others start.

The order between two processes is kept within a box, not with what goes over ZeroMQ. A box that is
full keeps its sender's words with the sender, who tries again at each `retry`: never more than the
credit of its links. A datagram to who has gone is dropped, as a message on a broken line is.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Sequence
from typing import Any

from actorrl.errors import WireError
from actorrl.wire import chunks

MAX_POST_BYTES = 96 * 1024  # of one datagram: a sender may hold two on every system
MAX_PARTS = 1100  # a header, a payload, and as many arrays as a message may have
_PATIENCE_MS = 2  # until a box that was full is tried again
_COUNT = struct.Struct("<I")
_SCHEME = "ipc://"
_FULL = (errno.EAGAIN, errno.ENOBUFS)
ELEMENTS, CREDITS = "+", "-"  # what follows the address of a process's inbox


class Posts:
    """One thread's. `address` is that of the process's ZeroMQ inbox."""

    def __init__(self, address: str) -> None:
        self.elements = _box(address + ELEMENTS)
        self.credits = _box(address + CREDITS)
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._out.setblocking(False)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * MAX_POST_BYTES)
        self._buffer = bytearray(MAX_POST_BYTES)
        self._waiting: dict[str, collections.deque[bytes]] = {}  # by path, in the order of sending

    def send(self, address: str, box: str, parts: Sequence[Any]) -> bool:
        """Post a message's parts; False if they are too many bytes for that."""
        datagram = joined(parts)
        if datagram is None or not address.startswith(_SCHEME):
            return False
        path = address[len(_SCHEME) :] + box
        waiting = self._waiting.get(path)
        if waiting is None and self._goes(path, datagram):
            return True
        if waiting is None:
            waiting = self._waiting[path] = collections.deque()
        waiting.append(datagram)
        return True

    def _goes(self, path: str, datagram: bytes) -> bool:
        """False while the box is full."""
        try:
            self._out.sendto(datagram, path)
        except OSError as error:  # any other: it has gone
            return error.errno not in _FULL
        return True

    def retry(self, timeout_ms: int) -> int:
        """Post what waits; how long its sender may sleep now, at most `timeout_ms`."""
        for path, waiting in list(self._waiting.items()):
            while waiting and self._goes(path, waiting[0]):
                waiting.popleft()
            if not waiting:
                del self._waiting[path]
        return min(timeout_ms, _PATIENCE_MS) if self._waiting else timeout_ms

    def take(self, box: socket.socket) -> list[list[memoryview]]:
        """The parts of each message that waits in the box, which credit bounds. One that is
        malformed has no parts."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                nbytes = box.recv_into(self._buffer)
                found.append(_split(bytes(memoryview(self._buffer)[:nbytes])))
        return found

    def close(self) -> None:
        for each in (self.elements, self.credits, self._out):
            each.close()


def _box(address: str) -> socket.socket:
    """Raises WireError if it cannot be bound."""
    path = address.removeprefix(_SCHEME)
    box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    box.setblocking(False)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # a predecessor's
        box.bind(path)
    except OSError as error:
        box.close()
        raise WireError(f"cannot bind {path}: {error}") from error
    return box


def joined(parts: Sequence[Any]) -> bytes | None:
    """One datagram: how many parts, the length of each, the parts. None if it would be too long."""
    sizes = [chunks.nbytes(part) for part in parts]
    if sum(sizes) + 4 * len(sizes) + 4 > MAX_POST_BYTES:
        return None
    head = struct.pack(f"<{len(sizes) + 1}I", len(sizes), *sizes)
    return b"".join((head, *parts))


def _split(datagram: bytes) -> list[memoryview]:
    """The inverse; nothing of what is no such datagram."""
    if len(datagram) < _COUNT.size:
        return []
    (count,) = _COUNT.unpack_from(datagram)
    start = _COUNT.size * (count + 1)
    if count > MAX_PARTS or len(datagram) < start:
        return []
    sizes = struct.unpack_from(f"<{count}I", datagram, _COUNT.size)
    if start + sum(sizes) != len(datagram):
        return []
    parts, view = [], memoryview(datagram)
    for size in sizes:
        parts.append(view[start : start + size])
        start += size
    return parts
