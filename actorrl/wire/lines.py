"""The connections that a process has dialled: one to each peer that it talks to, and one to the
control lane of each."""

from __future__ import annotations

import zmq

from actorrl.errors import WireError
from actorrl.wire.inside import Inside
from actorrl.wire.intake import Intake
from actorrl.wire.keys import Owner
from actorrl.wire.messages import Kind, Message, Peer
from actorrl.wire.outside import Outside
from actorrl.wire.peers import Peers


class Lines:
    """One thread's. `outside` None: there are no other hosts."""

    def __init__(
        self,
        me: Owner,
        host: str,
        inside: Inside,
        outside: Outside | None,
        intake: Intake,
        peers: Peers,
    ) -> None:
        self.unreachable: dict[str, str] = {}  # why a peer cannot be dialled from here
        self.starters: frozenset[str] = frozenset()  # who may start something with this process
        self._me = me
        self._host = host
        self._inside = inside
        self._outside = outside
        self._intake = intake
        self._peers = peers
        self._lines: dict[str, zmq.Socket] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._lines

    def is_far(self, peer: Peer) -> bool:
        return self._outside is not None and peer.host != self._host

    def to(self, name: str, peer: Peer) -> zmq.Socket | None:
        """The line to a peer, dialled now if there is none; `name!` is that to its control lane.
        None where it cannot be reached, with the reason in `unreachable`."""
        line = self._lines.get(name)
        if line is not None:
            return line
        try:
            line = self._dial(name, peer)
        except WireError as error:
            self.unreachable[name.rstrip("!")] = str(error)
            return None
        self._lines[name] = line
        return line

    def _dial(self, name: str, peer: Peer) -> zmq.Socket:
        if not self.is_far(peer):
            if self._host and peer.host != self._host:
                raise WireError(f"{name} is on host {peer.host}; this process reaches its own only")
            line = self._inside.dial(name, peer)
            self._intake.attend(line, self._inside.take_from_line, answers=True)
            return line
        assert self._outside is not None
        line = self._outside.dial(name, peer)
        self._intake.attend(line, self._outside.take_from_line, answers=True)
        if self._outside.inbox is None:  # before anything else, so that it can be answered
            visit = Message(Kind.VISIT, "", source=self._me.name, incarnation=self._me.incarnation)
            line.send_multipart(self._outside.encode(visit), zmq.NOBLOCK)
        return line

    def visit(self) -> None:
        """Whoever does not listen has a line to each listener that may start something with it."""
        if self._outside is None or self._outside.inbox is not None:
            return
        for name in self.starters:
            peer = self._peers.table.get(name)
            if peer is not None and peer.tcp and self.is_far(peer):
                self.to(name, peer)

    def hang_up(self, name: str) -> None:
        """Close the lines to a peer; the next send dials anew."""
        for line_name in (name, name + "!"):
            line = self._lines.pop(line_name, None)
            if line is not None:
                self._intake.leave(line)
                self._end(line)
                line.close(linger=0)

    def _end(self, line: zmq.Socket) -> None:
        if self._outside is not None:
            self._outside.hang_up(line)

    def close(self) -> None:
        """What was sent still leaves, within a second."""
        for line in self._lines.values():
            self._end(line)
            line.close()
        self._lines.clear()
