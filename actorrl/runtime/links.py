"""Both ends of each kind of link. Credit, not the socket's buffer, decides what may be sent.

An element that is in flight owns one *slot* of its link (and, on one host, the slab slot of that
number). The slot comes back with the consumer's credit, or when the peer is a new incarnation: then
what was in flight is counted as `lost`.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from actorrl.errors import ActorRLError
from actorrl.runtime.door import Door
from actorrl.runtime.ledger import Ledger
from actorrl.runtime.program import Link, Report, Request, State, Stream
from actorrl.wire.blocks import Stamp
from actorrl.wire.messages import Kind, Message

MAX_PENDING = 1024  # elements that a waiting stream keeps beyond its credit

NOTHING_SEEN = Stamp(0, 0)

Arrays = dict[str, np.ndarray]


class Item:
    """What came in over a link. Its arrays are views that are good until it is released."""

    __slots__ = ("_give_back", "_held", "_message")

    def __init__(self, message: Message, give_back: Callable[[Message], None]) -> None:
        self._message = message
        self._give_back: Callable[[Message], None] | None = give_back
        self._held = False

    @property
    def source(self) -> str:
        return self._message.source

    @property
    def incarnation(self) -> int:
        return self._message.incarnation

    @property
    def body(self) -> Any:
        return self._message.body

    @property
    def arrays(self) -> Arrays:
        return self._message.arrays

    def hold(self) -> None:
        """Keep it beyond the handler; `release` must follow, the producer waits for it."""
        self._held = True

    @property
    def held(self) -> bool:
        return self._held

    def release(self) -> None:
        """Give the credit back. The arrays must not be used afterwards."""
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            self._message.arrays = {}
            give_back(self._message)


class _Pending(NamedTuple):
    """An element that waits for credit."""

    body: Any
    arrays: Arrays
    to: str | None
    rows: int


class _Slots:
    """The free slots towards each target of a link."""

    def __init__(self, targets: tuple[str, ...], num_slots: int) -> None:
        self.num_slots = num_slots
        self.free = {target: list(range(num_slots)) for target in targets}

    def in_flight(self, target: str) -> int:
        return self.num_slots - len(self.free[target])

    def reset(self, target: str) -> int:
        """The target is a new incarnation: all slots are free; how many were in flight."""
        lost = self.in_flight(target)
        self.free[target] = list(range(self.num_slots))
        return lost

    def give_back(self, target: str, slot: int) -> None:
        free = self.free.get(target)
        if free is not None and 0 <= slot < self.num_slots and slot not in free:
            free.append(slot)


class StreamOut:
    """The producer's end of a stream."""

    def __init__(self, link: Link, door: Door, ledger: Ledger | None = None) -> None:
        assert isinstance(link.kind, Stream)
        self.name = link.name
        self.targets = link.targets
        self._waits = link.kind.full == "wait"
        self._slots = _Slots(link.targets, link.kind.credit)
        self._door = door
        self._ledger = ledger
        self._pending: collections.deque[_Pending] = collections.deque()
        self._turn = 0
        self._number = 0
        self.sent = self.dropped = self.lost = 0

    @property
    def ready(self) -> bool:
        """Whether a `step` may produce one more element."""
        return not self._waits or self.has_credit

    @property
    def has_credit(self) -> bool:
        """Whether an element would leave at once."""
        return not self._pending and self._target(None) is not None

    def send(
        self, body: Any, arrays: Arrays | None = None, to: str | None = None, rows: int = 0
    ) -> None:
        """Send to `to`, or to the next target in turn that has credit. `rows` is what the element
        counts for, should a fault lose it. Without credit it is kept
        here: of a waiting stream until credit comes, else the oldest gives way (`dropped`).
        Raises ActorRLError when a handler has sent far beyond the credit: only `step` is held
        back, so what comes in must be `held` until the stream is `ready`."""
        if len(self._pending) >= MAX_PENDING:
            raise ActorRLError(
                f"{len(self._pending)} elements wait for credit of stream {self.name!r}: send from"
                " step, or hold what comes in until the stream is ready"
            )
        self._pending.append(_Pending(body, arrays or {}, to, rows))
        self.flush()
        if not self._waits:
            while len(self._pending) > self._slots.num_slots:
                self._pending.popleft()
                self.dropped += 1

    def flush(self) -> None:
        while self._pending:
            target = self._target(self._pending[0].to)
            if target is None or not self._send_one(target, self._pending[0]):
                return
            self._pending.popleft()

    def _send_one(self, target: str, element: _Pending) -> bool:
        slot, number = self._slots.free[target][-1], self._number + 1
        message = Message(Kind.ITEM, self.name, element.body, element.arrays, number, slot=slot)
        if self._ledger is not None:
            self._ledger.sent(self.name, target, slot, number, element.rows)
        if not self._door.send(target, message, self._slots.num_slots):
            if self._ledger is not None:
                self._ledger.unsent(self.name, target, slot)
            return False
        self._number = number
        self._slots.free[target].pop()
        self._turn = self.targets.index(target) + 1
        self.sent += 1
        return True

    def _target(self, to: str | None) -> str | None:
        if to is not None:
            return to if self._slots.free[to] and self._door.knows(to) else None
        for offset in range(len(self.targets)):
            index = (self._turn + offset) % len(self.targets)
            target = self.targets[index]
            if self._slots.free[target] and self._door.knows(target):
                return target
        return None

    def credit(self, message: Message) -> None:
        """The mailbox hands over only what comes from the target's present incarnation."""
        self._slots.give_back(message.source, message.slot)
        self.flush()

    def peer_changed(self, name: str) -> None:
        if name in self._slots.free:
            self.lost += self._slots.reset(name)
            self.flush()


class RequestOut:
    """The asking end of a request link; answers come to the actor's `on_LINK`."""

    def __init__(self, link: Link, door: Door, on_lost: Callable[[str, int], None]) -> None:
        assert isinstance(link.kind, Request)
        self.name = link.name
        self.targets = link.targets
        self._slots = _Slots(link.targets, link.kind.in_flight)
        self._door = door
        self._on_lost = on_lost
        self.lost = 0

    def up(self) -> list[str]:
        """The targets that are up, in their order."""
        return [target for target in self.targets if self._door.knows(target)]

    def can_ask(self, target: str) -> bool:
        return bool(self._slots.free[target]) and self._door.knows(target)

    def ask(self, target: str, body: Any = None, arrays: Arrays | None = None) -> bool:
        """Send one request; False if the target is down or has its requests in flight already."""
        if not self.can_ask(target):
            return False
        slot = self._slots.free[target][-1]
        message = Message(Kind.REQUEST, self.name, body, arrays or {}, slot=slot)
        if not self._door.send(target, message, self._slots.num_slots):
            return False
        self._slots.free[target].pop()
        return True

    def in_flight(self, target: str) -> int:
        return self._slots.in_flight(target)

    def give_back(self, message: Message) -> None:
        """Its answer is done with. One held since before the target's restart gives nothing back:
        its slot may be in use again."""
        if self._door.is_current(message):
            self._slots.give_back(message.source, message.slot)

    def peer_changed(self, name: str) -> None:
        if name in self._slots.free:
            lost = self._slots.reset(name)
            self.lost += lost
            self._on_lost(name, lost)


class Asked:
    """One request at the answering end: answer it once, now or later."""

    __slots__ = ("_door", "_message", "_num_slots")

    def __init__(self, message: Message, door: Door, num_slots: int) -> None:
        self._message: Message | None = message
        self._door = door
        self._num_slots = num_slots

    @property
    def source(self) -> str:
        assert self._message is not None
        return self._message.source

    @property
    def body(self) -> Any:
        assert self._message is not None
        return self._message.body

    @property
    def arrays(self) -> Arrays:
        assert self._message is not None
        return self._message.arrays

    def respond(self, body: Any, arrays: Arrays | None = None) -> bool:
        """False if whoever asked has gone."""
        assert self._message is not None, "a request is answered once"
        message, self._message = self._message, None
        answer = Message(Kind.RESPONSE, message.name, body, arrays or {}, slot=message.slot)
        return self._door.answer(message, answer, self._num_slots)


class StateOut:
    """The writing end of a state link."""

    def __init__(self, link: Link, door: Door, seen: Stamp) -> None:
        assert isinstance(link.kind, State)
        self.name = link.name
        self._block = door.block_writer(link.name)
        self._seen = seen
        self.published = 0

    def newest_version(self) -> int:
        """What readers see; after a restart the predecessor's last version, as far as it is known
        here or was `seen` by the driver: this host may never have read it."""
        return max(int(self._block.newest().version), self._seen.version)

    def newest_epoch(self) -> int:
        """The epoch of that version."""
        return max(int(self._block.newest().epoch), self._seen.epoch)

    def publish(self, version: int, arrays: Arrays, epoch: int = 0) -> None:
        """Within an epoch versions rise; a new epoch says that the writer went on from an older
        state than its predecessor's last."""
        self._block.publish(version, arrays, epoch)
        self.published += 1


class StateIn:
    """A reading end of a state link."""

    def __init__(self, link: Link, door: Door) -> None:
        assert isinstance(link.kind, State)
        self.name = link.name
        self._block = door.block_reader(link.name)

    @property
    def version(self) -> int:
        """The newest version, 0 before the first; costs the reading of one integer."""
        return self._block.version

    @property
    def epoch(self) -> int:
        """The epoch of the newest version."""
        return int(self._block.epoch)

    def read(self) -> tuple[int, Arrays]:
        """The newest version and its arrays, the caller's own copies."""
        return self._block.read()


class ReportOut:
    """The sending end of a report link."""

    def __init__(self, link: Link, door: Door) -> None:
        assert isinstance(link.kind, Report)
        self.name = link.name
        self._target = link.targets[0]
        self._door = door
        self.dropped = 0

    def send(self, body: Any) -> None:
        if not self._door.send(self._target, Message(Kind.REPORT, self.name, body)):
            self.dropped += 1


LinkOut = StreamOut | RequestOut | StateOut | ReportOut


def open_out(
    link: Link,
    door: Door,
    on_lost: Callable[[str, int], None],
    ledger: Ledger | None = None,
    seen: Stamp = NOTHING_SEEN,
) -> LinkOut:
    """The outgoing end of `link` for one of its sources."""
    match link.kind:
        case Stream():
            return StreamOut(link, door, ledger)
        case Request():
            return RequestOut(link, door, on_lost)
        case State():
            return StateOut(link, door, seen)
        case Report():
            return ReportOut(link, door)
    raise AssertionError(link.kind)
