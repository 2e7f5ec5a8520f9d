"""An endpoint's half between hosts: an inbox that others can dial, and what may come through it.

Who does not listen has no inbox: it takes what others start on the lines that it has dialled
(`visitors`).

On TCP a sender is who its key says. A message whose header names somebody else, one from a key that
is no longer listed, one that its sender may not send, and one that is malformed are dropped and
counted; whoever goes on sending malformed or false ones is cut off.
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
from actorrl.wire import parts as parts_of
from actorrl.wire.compression import Compressor
from actorrl.wire.doorkeeper import Doorkeeper, key_of
from actorrl.wire.keys import Owner
from actorrl.wire.messages import ANSWERS, Kind, Message, Peer
from actorrl.wire.offences import Offences
from actorrl.wire.sockets import TcpDoor
from actorrl.wire.visitors import Visitors

MAX_PARTS = 4096
MAX_MESSAGE_BYTES = 1 << 30
_MAX_ROUTE_BYTES = 255  # which an inbox puts before what was sent
INBOX = "inbox"  # the listener's domain
_NOBLOCK = int(zmq.NOBLOCK)

Allow = Callable[[str, Kind, str], bool]  # source, kind, link or method


class Route(NamedTuple):
    """How an answer finds its way back to another host: to a connection of the inbox, or (no id) on
    the line that it came from."""

    socket: zmq.Socket
    id: bytes


class _Line(NamedTuple):
    name: str
    owner: Owner
    key: str


class Outside:
    """See the module. One thread's, except `admit`. `on_broken` (see `Doorkeeper`) is called on
    any thread, `on_offender` when a key was added to `offenders`."""

    def __init__(
        self,
        context: zmq.Context,
        door: TcpDoor,
        drops: collections.Counter[str],
        visitors: Visitors,
        on_broken: Callable[[str], None],
        on_offender: Callable[[], None],
        on_visit: Callable[[str], None],
    ) -> None:
        self.offenders: set[str] = set()
        self.allow: Allow = lambda source, kind, name: False
        self.keeper = Doorkeeper(context, on_broken)
        self._context = context
        self._door = door
        self._drops = drops
        self._on_broken = on_broken
        self._on_offender = on_offender
        self._on_visit = on_visit
        self._visitors = visitors
        self._offences = Offences(drops)
        self._bytes: collections.Counter[str] = collections.Counter()
        self._compressor = Compressor()
        self._lines: dict[zmq.Socket, _Line] = {}
        self.inbox: zmq.Socket | None = None
        self.address = ""
        if door.listens:
            self._listen()

    def _listen(self) -> None:
        try:
            self.inbox, self.address = sockets.tcp_router(self._context, self._door, INBOX)
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
        name = line.rstrip("!")
        address = peer.tcp_control if line != name and peer.tcp_control else peer.tcp
        if not address:
            raise WireError(f"{name} on host {peer.host} has no address for other hosts")
        socket, monitor = sockets.tcp_dealer(self._context, address, peer.key, self._door)
        self._lines[socket] = _Line(line, Owner(name, peer.incarnation), peer.key)
        self.keeper.watch_line(line, address, monitor)
        return socket

    def hang_up(self, socket: zmq.Socket) -> None:
        """A line is about to be closed; its peer may be dialled again."""
        line = self._lines.pop(socket, None)
        if line is not None:
            sockets.end_monitor(socket)
            self.keeper.hung_up(line.name, forget=False)

    def forget(self, name: str) -> None:
        """A peer is gone, or another: how it went with its lines does not matter any more. Its
        successor may have visited already."""
        for line in (name, name + "!"):
            self.keeper.hung_up(line, forget=True)

    # ---- sending ------------------------------------------------------------------------

    def encode(self, message: Message) -> list[Any]:
        """Raises WireError for what its receiver would not take: it would be an offence there."""
        whole, raw_nbytes = frames.encode_compressed(message, self._compressor)
        parts = chunks.split(whole)
        nbytes = sum(chunks.nbytes(part) for part in parts)
        if nbytes + _MAX_ROUTE_BYTES > MAX_MESSAGE_BYTES:
            raise WireError(
                f"cannot send {message.name!r} to another host: {nbytes} bytes, at most"
                f" {MAX_MESSAGE_BYTES - _MAX_ROUTE_BYTES}"
            )
        self._bytes["bytes_raw"] += raw_nbytes
        self._bytes["bytes_wire"] += nbytes
        return parts

    def send_back(self, to: str, peer: Peer, message: Message) -> bool:
        """To a visitor, on its own connection; False if it has not come, or does not read."""
        route = self._visitors.way_back(to, peer)
        if route is None or self.inbox is None:
            return False
        parts = [route, *self.encode(message)]
        try:
            parts_of.send(self.inbox, parts)
        except zmq.Again:
            return False
        except zmq.ZMQError:  # what was in flight is gone with its connection
            self._visitors.lost(to)
            self._on_broken(to)
            return False
        return True

    def answer(self, route: Route, message: Message) -> None:
        """Raises ZMQError if its receiver has gone, or does not read."""
        parts = self.encode(message)
        if route.id:
            parts.insert(0, route.id)
        parts_of.send(route.socket, parts)

    # ---- receiving ----------------------------------------------------------------------

    def take_from_inbox(self, socket: zmq.Socket) -> Message | None:
        """The next message that waits there, unless it is dropped."""
        route, *parts = _received(socket)
        key = key_of(route if not parts else parts[-1])
        owner = self.keeper.owner(INBOX, key)
        if owner is None and self._door.security == "curve":
            self._drops["from a key that is not listed"] += 1
            _cut(parts, socket)
            return None
        message = self._decode(parts, key, owner)
        if message is None:
            return None
        if message.kind is Kind.VISIT:
            self._visitors.came(message, route.bytes)
            self._on_visit(message.source)
            return None
        if not (self._visitors.is_answer(message, route.bytes) or self._may_send(message)):
            return None
        message.route = Route(socket, route.bytes)
        return message

    def take_from_line(self, socket: zmq.Socket) -> Message | None:
        parts = _received(socket)
        _, owner, key = self._lines[socket]
        message = self._decode(parts, key, owner)
        if message is None or message.kind in ANSWERS:
            return message
        if self.inbox is not None:  # it is reached there, and nowhere else
            self._offence(key, "not an answer", parts)
            return None
        if not self._may_send(message):
            return None
        message.route = Route(socket, b"")
        return message

    def _decode(self, parts: list[zmq.Frame], key: str, owner: Owner | None) -> Message | None:
        try:
            whole = chunks.join([part.buffer for part in parts])
            message = frames.decode(whole, outside=True)
        except WireError:
            self._offence(key, "malformed", parts)
            return None
        if owner is not None and (message.source, message.incarnation) != owner:
            self._offence(key, "in another's name", parts)
            return None
        self._bytes["bytes_wire_in"] += sum(len(part) for part in parts)
        return message

    def _may_send(self, message: Message) -> bool:
        if message.kind not in ANSWERS and self.allow(message.source, message.kind, message.name):
            return True
        self._drops["not allowed"] += 1
        return False

    def _offence(self, key: str, reason: str, parts: list[zmq.Frame]) -> None:
        self._offences.note(key, reason=reason)
        if not key or not self._offences.is_cut_off(key):
            return
        self.keeper.ban(key)
        if self.inbox is not None:
            _cut(parts, self.inbox)
        if key not in self.offenders:
            self.offenders.add(key)
            self._drops["peer cut off"] += 1
            self._on_offender()

    def metrics(self) -> dict[str, int]:
        """Since the start: bytes sent to other hosts, before compression (`bytes_raw`) and after it
        (`bytes_wire`), bytes taken in, refused handshakes, and peers that were cut off."""
        return {
            "bytes_raw": self._bytes["bytes_raw"],
            "bytes_wire": self._bytes["bytes_wire"],
            "bytes_wire_in": self._bytes["bytes_wire_in"],
            "refused_handshakes": self.keeper.num_refused,
            "peers_cut_off": len(self.offenders),
        }

    def close(self) -> None:
        """All lines are hung up."""
        if self.inbox is not None:
            sockets.end_monitor(self.inbox)
        self.keeper.close()
        if self.inbox is not None:
            self.inbox.close()


def _received(socket: zmq.Socket) -> list[zmq.Frame]:
    """One message's parts. Of one that is too long, only the first and the last."""
    parts: list[zmq.Frame] = []
    nbytes = 0
    while True:
        part = socket.recv(_NOBLOCK, copy=False)
        parts.append(part)
        nbytes += len(part)
        if len(parts) > MAX_PARTS or nbytes > MAX_MESSAGE_BYTES:
            parts = [parts[0], part]
        if not part.more:
            return parts


def _cut(parts: list[zmq.Frame], inbox: zmq.Socket) -> None:
    """End the connection on which the parts came; ZeroMQ has no word for it. Its descriptor may
    belong to another by now: only a connection of our own listener is touched, and whoever has a
    listed key dials again."""
    with contextlib.suppress(OSError, zmq.ZMQError, ValueError, IndexError):
        connection = posix.socket(fileno=os.dup(int(parts[-1].get(zmq.SRCFD))))
        with connection:
            is_tcp = connection.family in (posix.AF_INET, posix.AF_INET6)
            if is_tcp and connection.getsockname()[1] == sockets.port_of(inbox):
                connection.shutdown(posix.SHUT_RDWR)
