"""An endpoint's other half: the inbox that faces other hosts, and what may come through it.

On TCP a sender is who its key says. A message whose header names somebody else, one from a key that
is no longer listed, one that its sender may not send, and one that is malformed are dropped and
counted; whoever goes on sending such things is cut off.
"""

from __future__ import annotations

import collections
import contextlib
import os
import socket as posix
from collections.abc import Callable
from typing import Any, NamedTuple

import zmq

from actorrl.errors import WireError
from actorrl.wire import chunks, frames, sockets
from actorrl.wire.compression import Compressor
from actorrl.wire.doorkeeper import Doorkeeper, key_of
from actorrl.wire.keys import Owner
from actorrl.wire.messages import ANSWERS, Kind, Message, Peer
from actorrl.wire.sockets import TcpDoor

MAX_OFFENCES = 8  # malformed or lying messages of one key, until it is cut off
MAX_PARTS = 8192
MAX_MESSAGE_BYTES = 1 << 30
INBOX = "inbox"  # the listener's domain

Allow = Callable[[str, Kind, str], bool]


class Route(NamedTuple):
    """How an answer finds its way back to another host."""

    id: bytes


class Outside:
    """See the module. One thread's, except `admit`."""

    def __init__(
        self,
        context: zmq.Context,
        door: TcpDoor,
        drops: collections.Counter[str],
        on_broken: Callable[[str], None],
        on_offender: Callable[[], None],
    ) -> None:
        self.door = door
        self.keeper = Doorkeeper(context, on_broken)
        self.offenders: set[str] = set()  # keys
        self.allow: Allow = lambda source, kind, name: True
        self._context = context
        self._drops = drops
        self._on_offender = on_offender
        self._offences: collections.Counter[str] = collections.Counter()
        self._bytes: collections.Counter[str] = collections.Counter()
        self._compressor = Compressor()
        self._lines: dict[zmq.Socket, tuple[str, Owner, str]] = {}  # name, owner and its key
        self._by_owner: dict[Owner, str] = {}
        try:
            self.inbox, self.address = sockets.tcp_router(context, door, INBOX)
        except WireError:
            self.keeper.close()
            raise
        self.keeper.watch_listener(self.inbox)

    # ---- whom it knows ------------------------------------------------------------------

    def admit(self, table: dict[str, Peer], host: str) -> None:
        """The peers of other hosts may come in, and nobody else. Any thread."""
        owners = {
            peer.key: Owner(name, peer.incarnation)
            for name, peer in table.items()
            if peer.host != host and peer.key
        }
        self.keeper.admit(INBOX, owners)

    def dial(self, line: str, peer: Peer) -> zmq.Socket:
        """A line to a peer of another host; `name!` is its control lane. Raises WireError."""
        address = peer.tcp_control if line.endswith("!") and peer.tcp_control else peer.tcp
        if not address or (self.door.security == "curve" and not peer.key):
            raise WireError(f"{line} is on host {peer.host}, and no address or key of it is known")
        socket, monitor = sockets.tcp_dealer(self._context, address, peer.key, self.door)
        self._lines[socket] = (line, Owner(line.rstrip("!"), peer.incarnation), peer.key)
        self.keeper.watch_line(line, address, monitor)
        return socket

    def hang_up(self, line: str, socket: zmq.Socket, forget: bool) -> None:
        if self._lines.pop(socket, None) is not None:
            self.keeper.hung_up(line, forget)

    def owns(self, socket: Any) -> bool:
        return socket is self.inbox or socket in self._lines

    # ---- sending ------------------------------------------------------------------------

    def encode(self, message: Message) -> list[Any]:
        parts, raw_nbytes = frames.encode_compressed(message, self._compressor)
        self._bytes["bytes_raw"] += raw_nbytes
        parts = chunks.split(parts)
        self._bytes["bytes_wire"] += sum(chunks.nbytes(part) for part in parts)
        return parts

    # ---- receiving ----------------------------------------------------------------------

    def take(self, socket: zmq.Socket) -> Message | None:
        """The next message that waits in the inbox or on a line, unless it is dropped."""
        parts = _received(socket)
        if socket is self.inbox:
            key = key_of(parts[-1])
            owner = self.keeper.owner(INBOX, key)
            if self.door.security == "curve" and owner is None:
                self._drops["from a key that is not listed"] += 1
                return None
            message = self._checked(parts[1:], key, owner)
            if message is None or not self._may(message):
                return None
            message.route = Route(parts[0].bytes)
            return message
        _, owner, key = self._lines[socket]
        message = self._checked(parts, key, owner)
        if message is not None and message.kind not in ANSWERS:
            self._offence(key, "not an answer", parts)
            return None
        return message

    def _checked(self, parts: list[zmq.Frame], key: str, owner: Owner | None) -> Message | None:
        try:
            if len(parts) > MAX_PARTS:
                raise WireError("too many parts, or too large in all")
            whole = chunks.join(part.buffer for part in parts)
            message = frames.decode(whole, outside=True)
        except WireError:
            self._offence(key, "malformed", parts)
            return None
        if owner is not None and (message.source, message.incarnation) != owner:
            self._offence(key, "in another's name", parts)
            return None
        self._bytes["bytes_wire_in"] += sum(len(part) for part in parts)
        return message

    def _may(self, message: Message) -> bool:
        if message.kind in ANSWERS or not self.allow(message.source, message.kind, message.name):
            self._drops["not allowed to"] += 1
            return False
        return True

    def _offence(self, key: str, reason: str, parts: list[zmq.Frame]) -> None:
        self._drops[reason] += 1
        self._offences[key] += 1
        if self._offences[key] >= MAX_OFFENCES and key:
            self.keeper.ban(key)
            if key not in self.offenders:
                self.offenders.add(key)
                self._drops["peer cut off"] += 1
                self._on_offender()
            _cut(parts, self.inbox)

    def metrics(self) -> dict[str, int]:
        """Bytes since the start to and from other hosts: `bytes_raw` before compression,
        `bytes_wire` after it; handshakes that were refused; peers that were cut off."""
        return {
            "bytes_raw": self._bytes["bytes_raw"],
            "bytes_wire": self._bytes["bytes_wire"],
            "bytes_wire_in": self._bytes["bytes_wire_in"],
            "refused_handshakes": self.keeper.refused.total(),
            "peers_cut_off": len(self.offenders),
        }

    def close(self) -> None:
        self.keeper.close()
        self.inbox.close()


def _received(socket: zmq.Socket) -> list[zmq.Frame]:
    """One message's parts. Of one that is too long, `MAX_PARTS` + 1 of them: the rest is let go as
    it comes."""
    parts: list[zmq.Frame] = []
    nbytes = 0
    while True:
        part = socket.recv(zmq.NOBLOCK, copy=False)
        nbytes += len(part)
        if len(parts) <= MAX_PARTS:
            parts.append(part)
        if nbytes > MAX_MESSAGE_BYTES:
            parts = parts[:1] * (MAX_PARTS + 1)
        if not part.more:
            return parts


def _cut(parts: list[zmq.Frame], inbox: zmq.Socket) -> None:
    """End the connection on which the parts came; ZeroMQ has no word for it. Its descriptor may
    belong to another by now: only a connection of our own listener is touched, and whoever has a
    listed key dials again."""
    with contextlib.suppress(OSError, zmq.ZMQError, ValueError):
        connection = posix.socket(fileno=os.dup(int(parts[-1].get(zmq.SRCFD))))
        with connection:
            is_tcp = connection.family in (posix.AF_INET, posix.AF_INET6)
            if is_tcp and connection.getsockname()[1] == sockets.port_of(inbox):
                connection.shutdown(posix.SHUT_RDWR)
