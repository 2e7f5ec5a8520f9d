"""What the processes of a run have counted: bytes that cross between hosts, who was refused at a
door, and what was dropped for which reason. A refusal is an event of the run: somebody who does not
belong to it knocks."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping

from actorrl.runtime.refs import DRIVER
from actorrl.runtime.switchboard import Switchboard
from actorrl.wire.endpoint import Endpoint

COUNTS_S = 2.0  # how often a process says what it has counted
REFUSED = "refused_handshakes"

Counts = Mapping[str, int]
ByRole = dict[str, dict[str, int]]


class TrafficBook:
    """One thread writes, any thread reads. `event` is told of refusals."""

    def __init__(self, event: Callable[..., None]) -> None:
        self._event = event
        self._network, self._drops = _Newest(), _Newest()

    def heard(self, name: str, incarnation: int, network: Counts, drops: Counts) -> None:
        """Both since the start of that incarnation; `network` is an `Endpoint.metrics`."""
        last = self._network.put(name, incarnation, network)
        self._drops.put(name, incarnation, drops)
        refused = network.get(REFUSED, 0) - last.get(REFUSED, 0)
        if refused > 0:
            self._event("strangers_refused", actor=name, count=refused)

    def network(self) -> ByRole:
        """Sums since the start of the run; empty where there is one host."""
        return summed(self._network.all())

    def drops(self) -> ByRole:
        """The same by reason; what never happened is left out."""
        return happened(summed(self._drops.all()))


class OwnCounts:
    """The driver's part of the book, every few seconds. `on_the_way` are the drops of whoever
    carries connections between hosts."""

    def __init__(
        self, book: TrafficBook, door: Endpoint, board: Switchboard, on_the_way: Counts
    ) -> None:
        self._book = book
        self._door = door
        self._board = board
        self._on_the_way = on_the_way
        self._next = 0.0

    def look(self, now: float) -> None:
        if now < self._next:
            return
        self._next = now + COUNTS_S
        network = self._door.metrics()
        if network:  # there are other hosts
            network[REFUSED] += self._board.num_refused
        drops = total(self._door.drops, self._board.drops, self._on_the_way)
        self._book.heard(DRIVER, 0, network, drops)


class _Newest:
    """The newest counts of each process, and those of the incarnations before."""

    def __init__(self) -> None:
        self._newest: dict[str, tuple[int, Counts]] = {}
        self._ended: dict[str, collections.Counter[str]] = {}  # role -> sums

    def put(self, name: str, incarnation: int, counts: Counts) -> Counts:
        """What that incarnation had counted before."""
        before, last = self._newest.get(name, (incarnation, {}))
        if before != incarnation:
            self._ended.setdefault(_role(name), collections.Counter()).update(last)
            last = {}
        self._newest[name] = incarnation, counts
        return last

    def all(self) -> list[tuple[str, Counts]]:
        ended = [(role, counts.copy()) for role, counts in dict(self._ended).items()]
        return [*ended, *((name, counts) for name, (_, counts) in dict(self._newest).items())]


def total(*counts: Counts) -> dict[str, int]:
    """Of several rooms of a process, without what is 0; other threads may go on counting."""
    sums: collections.Counter[str] = collections.Counter()
    for each in counts:
        sums.update(dict(each))
    return dict(+sums)


def summed(counts: Iterable[tuple[str, Counts]]) -> ByRole:
    """By the roles of those who have counted; who has nothing to say is left out."""
    sums: dict[str, collections.Counter[str]] = {}
    for name, found in counts:
        if found:
            sums.setdefault(_role(name), collections.Counter()).update(found)
    return {role: dict(sums[role]) for role in sorted(sums)}


def happened(counts: ByRole) -> ByRole:
    """Without what is 0."""
    positive = {role: {k: n for k, n in found.items() if n > 0} for role, found in counts.items()}
    return {role: found for role, found in positive.items() if found}


def _role(name: str) -> str:
    return name.partition("/")[0]
