"""One message's parts, into a socket and out of it. (pyzmq's own multipart calls ask ZeroMQ after
each part whether there are more, and combine enums for each: dear for small messages.)"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq

from actorrl.wire import chunks

_NOBLOCK = int(zmq.NOBLOCK)
_MORE = _NOBLOCK | int(zmq.SNDMORE)
# a zero-copy send costs a handshake with ZeroMQ's collector: worth it for large parts only
_ZERO_COPY_BYTES = 64 * 1024


def send(socket: zmq.Socket, parts: Sequence[Any]) -> None:
    """All or nothing, without waiting. Raises zmq.Again where the line is full, zmq.ZMQError where
    there is none."""
    last = len(parts) - 1
    for index, part in enumerate(parts):
        copy = type(part) is bytes or chunks.nbytes(part) < _ZERO_COPY_BYTES
        socket.send(part, _NOBLOCK if index == last else _MORE, copy)


def receive_route(socket: zmq.Socket) -> bytes:
    """The first part of an inbox's next message, which ZeroMQ puts before what was sent. Raises
    zmq.Again where none waits."""
    route: bytes = socket.recv(_NOBLOCK)
    return route


def receive(socket: zmq.Socket) -> list[zmq.Frame]:
    """The parts of the next message. Raises zmq.Again where none waits."""
    part = socket.recv(_NOBLOCK, False)
    parts = [part]
    while part.more:
        part = socket.recv(_NOBLOCK, False)
        parts.append(part)
    return parts
