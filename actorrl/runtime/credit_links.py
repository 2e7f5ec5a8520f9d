"""The ends of streams and requests. Credit, not the socket's buffer, decides what may be sent.

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
from actorrl.runtime.program import Link, Request, Stream
from actorrl.wire.messages import Kind, Message
from actorrl.wire.slabs import Allocate, own_memory

MAX_PENDING = 1024  # elements that a waiting stream keeps beyond its credit

Arrays = dict[str, np.ndarray]


def dropped_on(link: str) -> str:
    """The reason in a door's `drops` for elements that the link's own end has dropped."""
    return f"{link}: dropped"


def lost_on(link: str) -> str:
    """For those that were lost with a target."""
    return f"{link}: lost with a target"


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
        self.sent = 0

    @property
    def dropped(self) -> int:
        """By this process, of a stream that drops."""
        return self._door.drops[dropped_on(self.name)]

    @property
    def lost(self) -> int:
        """In flight when a target was lost, at most."""
        return self._door.drops[lost_on(self.name)]

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
                self._door.drops[dropped_on(self.name)] += 1

    def room(self) -> Allocate:
        """Where the arrays of the next element may be filled in, so that `send` need not copy them:
        in the memory of its slot, where that is shared. Until `send` only."""
        target = None if self._pending else self._target(None)
        if target is None:
            return own_memory
        slots = self._slots
        return self._door.room(target, self.name, slots.free[target][-1], slots.num_slots)

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
            if number := self._slots.reset(name):
                self._door.drops[lost_on(self.name)] += number
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

    @property
    def lost(self) -> int:
        """Requests that nobody will answer."""
        return self._door.drops[lost_on(self.name)]

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
            number = self._slots.reset(name)
            if number:
                self._door.drops[lost_on(self.name)] += number
            self._on_lost(name, number)
