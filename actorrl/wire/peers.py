"""Who lives where, as a process was last told: the peers that it can talk to and hears."""

from __future__ import annotations

from actorrl.wire.messages import ANSWERS, Message, Peer
from actorrl.wire.visitors import Visitors


class Peers:
    """One thread's. `table` is of those that run; some may still have to come (`visitors`)."""

    def __init__(self, visitors: Visitors) -> None:
        self.table: dict[str, Peer] = {}
        self._visitors = visitors

    def replace(self, table: dict[str, Peer]) -> list[str]:
        """The names of those that are new, gone, or another now."""
        before, self.table = self.table, table
        names = before.keys() | table.keys()
        return sorted(name for name in names if before.get(name) != table.get(name))

    def up(self, name: str) -> Peer | None:
        """None while it is down, or has not come. `name!` is its control lane."""
        name = name.removesuffix("!")
        return None if name in self._visitors.absent else self.table.get(name)

    def incarnation_of(self, name: str) -> int:
        """0 while it is down."""
        peer = self.up(name)
        return 0 if peer is None else peer.incarnation

    def is_current(self, message: Message) -> bool:
        """Whether its sender may still be heard: an answer, only if it comes from the process that
        was asked; anything else, unless its sender's successor is up already."""
        peer = self.table.get(message.source)
        if message.kind in ANSWERS:
            return peer is not None and peer.incarnation == message.incarnation
        return peer is None or message.incarnation >= peer.incarnation
