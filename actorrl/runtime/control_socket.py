"""Control messages from a socket. What is none is an offence of its sender, and whoever goes on
sending it is not listened to any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import zmq

from actorrl.errors import WireError
from actorrl.wire import chunks
from actorrl.wire.control_messages import Control, decode_control, encode_control
from actorrl.wire.offences import MAX_OFFENCES, Offences

MAX_AT_ONCE = 64  # messages from one socket, before whoever reads it has another look at the clock


def received(socket: zmq.Socket, num_frames: int, offences: Offences) -> Iterator[list[Any]]:
    """What waits in a socket: the frames before the last of `num_frames`, which say who has sent
    it, and that one decoded."""
    for parts in waiting(socket, copy=True):
        routes, frames = parts[: num_frames - 1], parts[num_frames - 1 :]
        sender = routes[0].hex() if routes else ""
        try:
            if offences.is_cut_off(sender):
                raise WireError(f"from who has sent {MAX_OFFENCES} malformed ones")
            message = decoded(frames)
        except WireError as error:
            offences.note(sender, str(error))
        else:
            yield [*routes, message]


def waiting(socket: zmq.Socket, copy: bool) -> Iterator[list[Any]]:
    """The parts of each message, of at most so many: who is sent more than it can read does not
    stop doing everything else."""
    for _ in range(MAX_AT_ONCE):
        try:
            yield socket.recv_multipart(zmq.NOBLOCK, copy)
        except zmq.Again:
            return


def encoded(message: Control) -> list[Any]:
    """In pieces, where it is too long for one frame between hosts: what makes an actor may hold
    arrays of the user's, and an event whatever it says."""
    return chunks.split([encode_control(message)])


def decoded(frames: Sequence[Any]) -> Control:
    """The inverse. Raises WireError."""
    if len(frames) > 1:
        frames = chunks.join(frames)
    if len(frames) != 1:
        raise WireError(f"a message of {len(frames)} frames, expected one")
    return decode_control(frames[0])
