"""Control messages from a socket, and what becomes of bytes that are none: they are dropped,
counted and said now and then; whoever goes on sending them is not listened to any more."""

from __future__ import annotations

import collections
import sys
from collections.abc import Iterator
from typing import Any

import zmq

from actorrl.errors import WireError
from actorrl.wire import chunks
from actorrl.wire.control_messages import decode_control
from actorrl.wire.outside import MAX_OFFENCES

MAX_SENDERS = 1024  # with a count of their own
_SHOWN = 200  # characters: some of them are the sender's


class Offences:
    """Of all senders to one socket; its reader's thread's. `total` is also read by others."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._counts: collections.Counter[bytes] = collections.Counter()
        self.total = 0

    def note(self, sender: bytes, why: str) -> None:
        """Said at the 1st, 2nd, 4th, 8th ...: nobody can fill a disk with it."""
        self.total += 1
        if sender in self._counts or len(self._counts) < MAX_SENDERS:
            self._counts[sender] += 1
        if self.total & (self.total - 1) == 0:
            line = f"warning: {self._where}: {why[:_SHOWN]!a}, {self.total} of the kind so far"
            print(line, file=sys.stderr, flush=True)

    def is_cut_off(self, sender: bytes = b"") -> bool:
        return self._counts[sender] >= MAX_OFFENCES


def received(socket: zmq.Socket, num_frames: int, offences: Offences) -> Iterator[list[Any]]:
    """All messages that wait in a socket: the frames before the last of `num_frames`, which say who
    has sent it, and that one decoded. What is too long for one frame between hosts comes in
    pieces."""
    while True:
        try:
            parts = socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        routes, frames = parts[: num_frames - 1], parts[num_frames - 1 :]
        sender = routes[0] if routes and num_frames > 1 else b""
        try:
            if offences.is_cut_off(sender):
                raise WireError(f"from who has sent {MAX_OFFENCES} malformed ones")
            if len(frames) > 1:
                frames = chunks.join(frames)
            if len(frames) != 1:
                raise WireError(f"a message of {len(parts)} frames, expected {num_frames}")
            message = decode_control(frames[0])
        except WireError as error:
            offences.note(sender, str(error))
        else:
            yield [*routes, message]
