"""Peers of other hosts that do not listen: there would not be ports enough for hundreds of workers
on a host. They come to those who may start something with them, and are reached on the connection
that they keep open; their answers come into the inbox there."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from actorrl.wire.messages import ANSWERS, Message, Peer

MAX_VISITORS = 8192


class _Visit(NamedTuple):
    route: bytes  # of the inbox
    incarnation: int


class Visitors:
    """One thread's, but for `trouble`. `absent` are those that have not come yet."""

    def __init__(self, drops: collections.Counter[str]) -> None:
        self.absent: set[str] = set()
        self._drops = drops
        self._visits: dict[str, _Visit] = {}

    def came(self, message: Message, route: bytes) -> None:
        """A visit. Its sender may be ahead of the table of peers. Names that nobody has vouched for
        (`security: none`) do not fill the memory."""
        if len(self._visits) >= MAX_VISITORS and message.source not in self._visits:
            self._drops["visitor beyond the limit"] += 1
            return
        self._visits[message.source] = _Visit(route, message.incarnation)

    def look(self, table: Mapping[str, Peer], host: str) -> None:
        """Who is awaited, of the peers that there are now."""
        self.absent = {
            name
            for name, peer in table.items()
            if not peer.tcp and peer.host != host and self.way_back(name, peer) is None
        }

    def way_back(self, name: str, peer: Peer) -> bytes | None:
        """The route to a visitor; None while it has not come."""
        visit = self._visits.get(name)
        return visit.route if visit is not None and visit.incarnation == peer.incarnation else None

    def is_answer(self, message: Message, route: bytes) -> bool:
        """Whether it may come into the inbox as a visitor's answer."""
        visit = self._visits.get(message.source)
        return message.kind in ANSWERS and visit == (route, message.incarnation)

    def lost(self, name: str) -> None:
        """Its connection is gone; it will come again."""
        self._visits.pop(name, None)
        self.absent.add(name)

    def await_any(self, names: Iterable[str]) -> bool:
        """Whether one of these is still to come."""
        return not self.absent.isdisjoint(names)

    def trouble(self) -> dict[str, str]:
        """Any thread."""
        absent = tuple(self.absent)
        return {
            name: f"{name} has no address that could be dialled: it has to come" for name in absent
        }
