"""A process's door to the others: one inbox, and one line to each peer that it talks to.

What a peer starts (calls, stream elements, requests) arrives in the inbox and is answered through
it; the answers to what this process started (replies, credits, responses) arrive on the lines. So a
process that waits for an answer need not look at its inbox. Peers of the same host are reached over
sockets in the file system and shared memory (`inside`), those of other hosts over TCP (`outside`),
which has an inbox of its own.

An endpoint belongs to one thread, except where a method says more. The table of peers changes only
in `take_peers`, which its owner calls, and in `receive`: never in the middle of a send. `drops`
counts, by reason, what arrived and was not delivered.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

import zmq

from actorrl.errors import WireError
from actorrl.wire import chunks, sockets
from actorrl.wire.blocks import BlockReader, BlockWriter
from actorrl.wire.inside import Inside
from actorrl.wire.messages import ANSWERS, Message, Peer
from actorrl.wire.outside import Allow, Outside, Route
from actorrl.wire.shared_memory import MemoryClient
from actorrl.wire.sockets import TcpDoor

# plain numbers: pyzmq's enums cost a microsecond each time they are combined
_NOBLOCK, _POLLIN, _EVENTS = int(zmq.NOBLOCK), int(zmq.POLLIN), int(zmq.EVENTS)
_DRAIN = 64  # messages taken from one socket before the others have their turn
_ZERO_COPY_BYTES = 64 * 1024

Take = Callable[[zmq.Socket], Message | None]


class Endpoint:
    """ZeroMQ's endpoint; `runtime.launchers.inproc` has the one without sockets."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        address: str,
        memory: MemoryClient | None = None,
        host: str = "",
        tcp: TcpDoor | None = None,
    ) -> None:
        """`tcp` opens the door to other hosts than `host`. Raises WireError if it cannot."""
        self.name = name
        self.incarnation = incarnation
        self.peers: dict[str, Peer] = {}
        self.drops: collections.Counter[str] = collections.Counter()
        self.on_peers: Callable[[list[str]], None] = lambda changed: None
        self._host = host
        self._memory = memory
        self._posted: collections.deque[Callable[[], None]] = collections.deque()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._wake_lock = threading.Lock()
        self._context = sockets.new_context()
        self._inside = Inside(self._context, name, incarnation, address, memory, self.drops)
        self._outside: Outside | None = None
        self._lines: dict[str, zmq.Socket] = {}
        self._unreachable: dict[str, str] = {}
        self._watched: dict[Any, Callable[[], None]] = {}
        self._takes: dict[Any, Take] = {}
        self._all = zmq.Poller()
        self._answers = zmq.Poller()
        self._attend(self._inside.inbox, self._inside.take_from_inbox, self._all)
        for poller in (self._all, self._answers):
            poller.register(self._wake_fd, zmq.POLLIN)
        if tcp is not None:
            self._open_to_others(tcp)

    def _attend(self, socket: zmq.Socket, take: Take, *pollers: zmq.Poller) -> None:
        self._takes[socket] = take
        for poller in pollers:
            poller.register(socket, zmq.POLLIN)

    # ---- other hosts --------------------------------------------------------------------

    def _open_to_others(self, tcp: TcpDoor) -> None:
        arguments = (self._context, tcp, self.drops, self._on_broken, self._on_offender)
        try:
            self._outside = Outside(*arguments)
        except WireError:
            self.close()
            raise
        self._attend(self._outside.inbox, self._outside.take_from_inbox, self._all)

    @property
    def tcp_address(self) -> str:
        """Where processes of other hosts reach this one; empty if they do not."""
        return "" if self._outside is None else self._outside.address

    @property
    def trouble(self) -> dict[str, str]:
        """Why peers of other hosts cannot be reached, by name: within 5 s, and until they can. Any
        thread."""
        found = {} if self._outside is None else self._outside.keeper.trouble
        return self._unreachable | {line.rstrip("!"): reason for line, reason in found.items()}

    def permit(self, allow: Allow) -> None:
        """From now on take in from other hosts what `allow(source, kind, name)` says; before, and
        beside it, nothing but answers."""
        if self._outside is not None:
            self._outside.allow = allow

    def metrics(self) -> dict[str, int]:
        """What went to and came from other hosts (see `Outside.metrics`), and all drops. Any
        thread."""
        outside = {} if self._outside is None else self._outside.metrics()
        return outside | {f"dropped: {reason}": count for reason, count in dict(self.drops).items()}

    def _on_broken(self, line: str) -> None:
        """A connection was lost or refused. The doorkeeper's thread."""
        self._posted.append(lambda: self._renew(line.rstrip("!")))
        self.wake()

    def _renew(self, name: str) -> None:
        """What was in flight is gone: as after a restart of the peer, but for its incarnation."""
        if name in self.peers:
            self._hang_up(name)
            self.on_peers([name])

    def _on_offender(self) -> None:
        self._posted.append(lambda: self._adopt(self.peers))

    # ---- peers --------------------------------------------------------------------------

    def post_peers(self, table: dict[str, Peer]) -> None:
        """Tell the endpoint, from any thread, who lives where; its own thread looks later. Whose
        key is in the table may come in from now on."""
        if self._outside is not None:
            self._outside.admit(table, self._host)
        self._posted.append(lambda: self._adopt(table))
        self.wake()

    def wake(self) -> None:
        """End a `receive` that waits; any thread, even after `close`."""
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    def take_peers(self) -> None:
        """Look at the newest table that was posted; tells `on_peers` what has changed."""
        while self._posted:
            self._posted.popleft()()

    def _adopt(self, table: dict[str, Peer]) -> None:
        if self._outside is not None:
            offenders = self._outside.offenders
            table = {name: peer for name, peer in table.items() if peer.key not in offenders}
        changed = [
            name
            for name in self.peers.keys() | table.keys()
            if self.peers.get(name) != table.get(name)
        ]
        self.peers = self._inside.peers = table
        for name in changed:
            self._forget(name)
        if changed:
            self.on_peers(sorted(changed))

    def _hang_up(self, name: str) -> None:
        """Close the lines to a peer; the next send dials anew."""
        for line_name in (name, name + "!"):
            line = self._lines.pop(line_name, None)
            if line is not None:
                self._all.unregister(line)
                self._answers.unregister(line)
                del self._takes[line]
                if self._outside is not None:
                    self._outside.hang_up(line)
                line.close(linger=0)

    def _forget(self, name: str) -> None:
        """A peer is gone, or another now."""
        self._hang_up(name)
        self._unreachable.pop(name, None)
        self._inside.forget(name)
        if self._outside is not None:
            self._outside.forget(name)

    def knows(self, name: str) -> bool:
        """Whether the peer is up, as far as is known. `name!` is its control lane."""
        return name.rstrip("!") in self.peers

    def incarnation_of(self, name: str) -> int:
        """The peer's incarnation, 0 while it is down."""
        peer = self.peers.get(name)
        return peer.incarnation if peer is not None else 0

    def ledger_pages(self, slot: str, nbytes: int) -> memoryview | None:
        """Words that outlive the slot's processes, as long as the agent; None of another host's
        slot, or without memory."""
        peer = self.peers.get(slot)
        is_elsewhere = self._outside is not None and peer is not None and peer.host != self._host
        if self._memory is None or is_elsewhere:
            return None
        try:
            return self._memory.keep(f"ledger/{slot}", nbytes).data.cast("q")
        except (MemoryError, WireError):
            return None

    def is_current(self, message: Message) -> bool:
        """Whether its sender may still be heard: an answer, only if it comes from the process that
        was asked; anything else, unless its sender's successor is up already."""
        peer = self.peers.get(message.source)
        if message.kind in ANSWERS:
            return peer is not None and peer.incarnation == message.incarnation
        return peer is None or message.incarnation >= peer.incarnation

    # ---- sending ------------------------------------------------------------------------

    def send(self, to: str, message: Message, num_slots: int = 0) -> bool:
        """Put a message on the line to `to`; False if it is not up or its line is full.

        `num_slots` is the credit of the link when the message occupies slab slot `message.slot`.
        """
        if not self.knows(to):
            return False
        line = self._lines.get(to)
        if line is None and (line := self._dial(to)) is None:
            return False
        message.source, message.incarnation = self.name, self.incarnation
        if self._is_far(self.peers[to.rstrip("!")]):
            parts = self._outside.encode(message)  # type: ignore[union-attr]
        else:
            parts = self._inside.encode(to, message, num_slots)
        try:
            line.send_multipart(parts, flags=_NOBLOCK, copy=_copy(parts))
        except zmq.Again:
            return False
        return True

    def answer(self, to: Message, message: Message, num_slots: int = 0) -> bool:
        """Answer a message that came into the inbox; False if its sender has gone."""
        message.source, message.incarnation = self.name, self.incarnation
        if isinstance(to.route, Route):
            assert self._outside is not None
            inbox, route, parts = self._outside.inbox, to.route.id, self._outside.encode(message)
        else:
            inbox, route = self._inside.inbox, to.route
            parts = self._inside.encode(to.source, message, num_slots)
        try:
            inbox.send_multipart([route, *parts], flags=_NOBLOCK, copy=_copy(parts))
        except zmq.ZMQError:  # gone, or it does not read
            self.drops["answer to a peer that has gone"] += 1
            return False
        return True

    def _is_far(self, peer: Peer) -> bool:
        return self._outside is not None and peer.host != self._host

    def _dial(self, to: str) -> zmq.Socket | None:
        """A new line; None to who cannot be reached from here, with the reason in `trouble`."""
        peer = self.peers[to.rstrip("!")]
        try:
            if self._is_far(peer):
                assert self._outside is not None
                line, take = self._outside.dial(to, peer), self._outside.take_from_line
            elif self._host and peer.host != self._host:
                raise WireError(f"{to} is on host {peer.host}; this process reaches its own only")
            else:
                line, take = self._inside.dial(to, peer), self._inside.take_from_line
        except WireError as error:
            self._unreachable[to.rstrip("!")] = str(error)
            return None
        self._lines[to] = line
        self._attend(line, take, self._all, self._answers)
        return line

    # ---- versioned state ----------------------------------------------------------------

    def block_writer(self, link: str) -> BlockWriter:
        assert self._memory is not None
        return BlockWriter(self._memory, f"state/{link}")

    def block_reader(self, link: str) -> BlockReader:
        assert self._memory is not None
        return BlockReader(self._memory, f"state/{link}")

    # ---- receiving ----------------------------------------------------------------------

    def receive(self, timeout_ms: int, answers_only: bool = False) -> list[Message]:
        """What has arrived, waiting at most `timeout_ms` (0: do not wait) for the first of it."""
        self.take_peers()
        poller = self._answers if answers_only else self._all
        received: list[Message] = []
        for socket, _ in poller.poll(timeout_ms):
            if socket == self._wake_fd:
                self._clear_wake()
            elif socket in self._watched:
                self._watched[socket]()
            else:
                self._drain(socket, received)
        self.take_peers()
        return received

    def watch(self, source: Any, action: Callable[[], None]) -> None:
        """Run `action` in `receive` whenever the socket or descriptor `source` can be read."""
        self._watched[source] = action
        self._all.register(source, zmq.POLLIN)

    def _clear_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake_fd)

    def _drain(self, socket: zmq.Socket, received: list[Message]) -> None:
        take = self._takes[socket]
        for _ in range(_DRAIN):
            if not int(socket.getsockopt(_EVENTS)) & _POLLIN:  # an exception costs ten times more
                return
            message = take(socket)
            if message is None:
                continue
            if self.is_current(message):
                received.append(message)
            else:
                self.drops["from an old incarnation"] += 1

    def close(self) -> None:
        """What was sent still leaves, within a second. Idempotent."""
        if self._context.closed:
            return
        for line in self._lines.values():
            if self._outside is not None:
                self._outside.hang_up(line)
            line.close()
        self._lines.clear()
        self._inside.inbox.close()
        if self._outside is not None:
            self._outside.close()
        self._context.term()
        with self._wake_lock:  # the number may soon be somebody else's descriptor
            os.close(self._wake_fd)
            self._wake_fd = -1
        if self._memory is not None:
            self._memory.close()


def _copy(parts: list[Any]) -> bool:
    """Zero-copy sends cost a handshake with ZeroMQ's collector: worth it for large frames only."""
    return all(chunks.nbytes(part) < _ZERO_COPY_BYTES for part in parts)
