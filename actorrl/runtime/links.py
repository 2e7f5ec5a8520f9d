"""What comes in over links, and the ends of state and reports. Where credit decides what may be
sent, see `credit_links`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actorrl.runtime.credit_links import Arrays, RequestOut, StreamOut, dropped_on
from actorrl.runtime.door import Door
from actorrl.runtime.ledger import Ledger
from actorrl.runtime.program import Link, LinkKind, Report, Request, State, Stream
from actorrl.wire.blocks import Stamp, Take
from actorrl.wire.messages import Kind, Message
from actorrl.wire.slabs import Allocate, own_memory

NOTHING_SEEN = Stamp(0, 0)
# what travels over which kind of link: towards the target, and back
_ASKS: dict[Kind, type[LinkKind]] = {
    Kind.ITEM: Stream,
    Kind.REQUEST: Request,
    Kind.REPORT: Report,
}
_ANSWERS: dict[Kind, type[LinkKind]] = {Kind.CREDIT: Stream, Kind.RESPONSE: Request}


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
    def incarnation(self) -> int:
        assert self._message is not None
        return self._message.incarnation

    @property
    def body(self) -> Any:
        assert self._message is not None
        return self._message.body

    @property
    def arrays(self) -> Arrays:
        assert self._message is not None
        return self._message.arrays

    def room(self) -> Allocate:
        """Where the arrays of the answer may be filled in, so that `respond` need not copy them.
        Until `respond` only."""
        if not self.is_current():  # in its slot the answer to its successor may lie
            return own_memory
        assert self._message is not None
        message = self._message
        return self._door.room(message.source, message.name, message.slot, self._num_slots)

    def is_current(self) -> bool:
        """Whether whoever asked may still wait. If not it was restarted, and its successor asks
        anew: `drop` it, unanswered."""
        assert self._message is not None
        return self._door.is_current(self._message)

    def drop(self) -> None:
        """Nobody waits for it any more; counted."""
        self._message = None
        self._door.drops["request from an old incarnation"] += 1

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

    def hand(self, take: Take) -> None:
        """`take(version, arrays)` copies what it needs of the newest version from where it lies,
        and keeps none of the arrays; the last of its calls counts, should there be several."""
        self._block.hand(take)


class ReportOut:
    """The sending end of a report link."""

    def __init__(self, link: Link, door: Door) -> None:
        assert isinstance(link.kind, Report)
        self.name = link.name
        self._target = link.targets[0]
        self._door = door

    @property
    def dropped(self) -> int:
        return self._door.drops[dropped_on(self.name)]

    def send(self, body: Any) -> None:
        if not self._door.send(self._target, Message(Kind.REPORT, self.name, body)):
            self._door.drops[dropped_on(self.name)] += 1


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


def travels(message: Message, link: Link, to: str) -> bool:
    """Whether such a message goes from its sender to the actor `to` over that link."""
    if message.kind in _ASKS:
        kind, here, there = _ASKS[message.kind], link.targets, link.sources
    else:
        kind, here, there = _ANSWERS[message.kind], link.sources, link.targets
    return isinstance(link.kind, kind) and to in here and message.source in there
