"""A process's door to the others: one inbox, and one line to each peer that it talks to.

What a peer starts (calls, stream elements, requests) arrives in the inbox and is answered through
it; the answers to what this process started (replies, credits, responses) arrive on the lines. So a
process that waits for an answer need not look at its inbox. Peers of the same host are reached over
sockets in the file system and shared memory (`inside`), those of other hosts over TCP (`outside`),
which has an inbox of its own, or, where it listens to nobody, only dials.

An endpoint belongs to one thread, except where a method says more. The table of peers changes only
in `take_peers`, which its owner calls, and in `receive`: never in the middle of a send. `drops`
counts, by reason, what arrived and was not delivered; whoever uses the endpoint counts there, too,
what it drops.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from typing import Any

import zmq

from actorrl.errors import WireError
from actorrl.wire import parts as parts_of
from actorrl.wire import sockets
from actorrl.wire.blocks import BlockReader, BlockWriter
from actorrl.wire.inside import Inside
from actorrl.wire.intake import Intake
from actorrl.wire.keys import Owner
from actorrl.wire.lines import Lines
from actorrl.wire.messages import Message, Peer
from actorrl.wire.outside import Allow, Outside, Route
from actorrl.wire.peers import Peers
from actorrl.wire.shared_memory import MemoryClient
from actorrl.wire.slabs import Allocate, own_memory
from actorrl.wire.sockets import TcpDoor
from actorrl.wire.visitors import Visitors


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
        self.drops: collections.Counter[str] = collections.Counter()
        self.on_peers: Callable[[list[str]], None] = lambda changed: None
        self._host = host
        self._memory = memory
        self._posted: collections.deque[Callable[[], None]] = collections.deque()
        self._near: dict[str, zmq.Socket] = {}  # lines to whom this host has, until `take_peers`
        self._context = sockets.new_context()
        self._visitors = Visitors(self.drops)
        self._peers = Peers(self._visitors)
        self._inside = Inside(
            self._context, name, incarnation, address, memory, self.drops, self._peers
        )
        self._outside: Outside | None = None
        self._intake = Intake(self._accepts)
        self._intake.attend(self._inside.inbox, self._inside.take_from_inbox, answers=False)
        try:
            if tcp is not None:
                self._open_to_others(tcp)
        except WireError:
            self._intake.close()
            self._inside.inbox.close()
            self._context.term()
            if memory is not None:
                memory.close()
            raise
        me = Owner(name, incarnation)
        self._lines = Lines(me, host, self._inside, self._outside, self._intake, self._peers)

    # ---- other hosts --------------------------------------------------------------------

    def _open_to_others(self, tcp: TcpDoor) -> None:
        told = (self._on_broken, self._on_offender, self._on_visit)
        self._outside = Outside(self._context, tcp, self.drops, self._visitors, *told)
        if self._outside.inbox is not None:
            self._intake.attend(self._outside.inbox, self._outside.take_from_inbox, answers=False)
        else:
            self._intake.mix()

    @property
    def tcp_address(self) -> str:
        """Where processes of other hosts reach this one; empty if they do not."""
        return "" if self._outside is None else self._outside.address

    @property
    def trouble(self) -> dict[str, str]:
        """Why peers of other hosts cannot be reached, by name: within 5 s, and until they can. Any
        thread."""
        found = {} if self._outside is None else self._outside.keeper.trouble
        lines = {line.rstrip("!"): reason for line, reason in found.items()}
        return self._visitors.trouble() | self._lines.unreachable | lines

    def permit(self, allow: Allow, starters: frozenset[str] = frozenset()) -> None:
        """From now on take in from other hosts what `allow(source, kind, name)` says; before, and
        beside it, nothing but answers. `starters` are all that `allow` knows: they are visited
        where this process does not listen."""
        if self._outside is not None:
            self._outside.allow = allow
            self._lines.starters = starters
            self._lines.visit()

    def _on_visit(self, name: str) -> None:
        self._posted.append(lambda: self._welcome(name))

    def _welcome(self, name: str) -> None:
        """A peer has come that was absent, or whose connection is another than before."""
        assert self._outside is not None
        self._intake.mix(self._outside.inbox)
        peer = self._peers.table.get(name)
        if peer is not None and self._visitors.way_back(name, peer) is not None:
            self._visitors.absent.discard(name)
            self.on_peers([name])

    def awaits(self, names: Iterable[str]) -> bool:
        """Whether some of these peers are up, and have not come yet: see after `receive`."""
        return self._visitors.await_any(names)

    def metrics(self) -> dict[str, int]:
        """What went to and came from other hosts: see `Outside.metrics`. Any thread."""
        return {} if self._outside is None else self._outside.metrics()

    def _on_broken(self, line: str) -> None:
        """A connection was lost or refused. Any thread."""
        self._posted.append(lambda: self._renew(line.rstrip("!")))
        self.wake()

    def _renew(self, name: str) -> None:
        """What was in flight is gone: as after a restart of the peer, but for its incarnation."""
        if name in self._peers.table:
            self._lines.hang_up(name)
            self._lines.visit()
            self.on_peers([name])

    def _on_offender(self) -> None:
        self._posted.append(lambda: self._adopt(self._peers.table))

    # ---- peers --------------------------------------------------------------------------

    def post_peers(self, table: dict[str, Peer]) -> None:
        """Tell the endpoint, from any thread, who lives where; its own thread looks later. Whose
        key is in the table may come in from now on."""
        if self._outside is not None:
            self._outside.admit(table, self._host)
        self._posted.append(lambda: self._adopt(table))
        self.wake()

    def take_peers(self) -> None:
        """Look at the newest table that was posted; tells `on_peers` what has changed."""
        while self._posted:
            self._near.clear()
            self._posted.popleft()()

    def _adopt(self, table: dict[str, Peer]) -> None:
        if self._outside is not None:
            offenders = self._outside.offenders
            table = {name: peer for name, peer in table.items() if peer.key not in offenders}
        changed = self._peers.replace(table)
        for name in changed:
            self._forget(name)
        if self._outside is not None:
            self._visitors.look(table, self._host)
            if self._visitors.absent:  # who waits for answers alone has to see them come
                self._intake.mix(self._outside.inbox)
            self._lines.visit()
        if changed:
            self.on_peers(changed)

    def _forget(self, name: str) -> None:
        """A peer is gone, or another now."""
        self._lines.hang_up(name)
        self._lines.unreachable.pop(name, None)
        self._inside.forget(name)
        if self._outside is not None:
            self._outside.forget(name)

    def knows(self, name: str) -> bool:
        """Whether the peer is up, as far as is known. `name!` is its control lane."""
        return self._peers.up(name) is not None

    def incarnation_of(self, name: str) -> int:
        """The peer's incarnation, 0 while it is down."""
        return self._peers.incarnation_of(name)

    def ledger_pages(self, slot: str, nbytes: int) -> memoryview | None:
        """Words that outlive the slot's processes, as long as the agent; None of another host's
        slot, or without memory."""
        peer = self._peers.table.get(slot)
        if self._memory is None or (peer is not None and self._lines.is_far(peer)):
            return None
        try:
            return self._memory.keep(f"ledger/{slot}", nbytes).data.cast("q")
        except (MemoryError, WireError):
            return None

    def is_current(self, message: Message) -> bool:
        """Whether its sender may still be heard: see `Peers.is_current`."""
        return self._peers.is_current(message)

    # ---- sending ------------------------------------------------------------------------

    def send(self, to: str, message: Message, num_slots: int = 0) -> bool:
        """Put a message on the line to `to`; False if it is not up or its line is full.

        `num_slots` is the credit of the link when the message occupies slab slot `message.slot`.
        """
        message.source, message.incarnation = self.name, self.incarnation
        line = self._near.get(to)
        if line is None:
            peer = self._peers.up(to)
            if peer is None:
                return False
            if self._lines.is_far(peer):
                return self._send_far(to, peer, message)
            line = self._lines.to(to, peer)
            if line is None:
                return False
            self._near[to] = line
        return _sent(line, self._inside.encode(to, message, num_slots))

    def _send_far(self, to: str, peer: Peer, message: Message) -> bool:
        assert self._outside is not None
        if not peer.tcp:
            return self._outside.send_back(to.removesuffix("!"), peer, message)
        line = self._lines.to(to, peer)
        return line is not None and _sent(line, self._outside.encode(message))

    def answer(self, to: Message, message: Message, num_slots: int = 0) -> bool:
        """Answer a message that came into the inbox; False if its sender has gone."""
        message.source, message.incarnation = self.name, self.incarnation
        try:
            if isinstance(to.route, Route):
                assert self._outside is not None
                self._outside.answer(to.route, message)
            else:
                self._inside.answer(to, message, num_slots)
        except zmq.ZMQError:  # gone, or it does not read
            self.drops["answer to a peer that has gone"] += 1
            return False
        return True

    def room(self, to: str, link: str, slot: int, num_slots: int) -> Allocate:
        """Where the arrays of the next message to `to` in this slot, which is free, are filled in
        so that `send` or `answer` need not copy them: in shared memory, if there is some between
        the two."""
        peer = self._peers.table.get(to)
        if peer is None or self._lines.is_far(peer):
            return own_memory
        return self._inside.room(to, link, slot, num_slots)

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
        if self._posted:
            self.take_peers()
            timeout_ms = 0  # who was told of them may have something to do now
        received = self._intake.receive(timeout_ms, answers_only)
        if self._posted:
            self.take_peers()
        return received

    def dial(self, address: str) -> zmq.Socket:
        """A line to who is no actor: this host's agent. Whoever asked for it closes it, first."""
        return sockets.dealer(self._context, address)

    def watch(self, source: Any, action: Callable[[], None]) -> None:
        """Run `action` in `receive` whenever the socket or descriptor `source` can be read."""
        self._intake.watch(source, action)

    def wake(self) -> None:
        """End a `receive` that waits; any thread, even after `close`."""
        self._intake.wake()

    def _accepts(self, message: Message) -> bool:
        if self._peers.is_current(message):
            return True
        self.drops["from an old incarnation"] += 1
        return False

    def close(self) -> None:
        """What was sent still leaves, within a second. Idempotent."""
        if self._context.closed:
            return
        self._lines.close()
        self._inside.inbox.close()
        if self._outside is not None:
            self._outside.close()
        self._context.term()
        self._intake.close()
        if self._memory is not None:
            self._memory.close()


def _sent(line: zmq.Socket, parts: list[Any]) -> bool:
    """False where the line is full."""
    try:
        parts_of.send(line, parts)
    except zmq.Again:
        return False
    return True
