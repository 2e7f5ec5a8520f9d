"""The one loop of an actor: what has come in, what is due, then one step of its own.

The mailbox owns the actor's endpoint and both kinds of link ends. `run` is the loop of an
actor's process; `turn` is one round of it, which the in-process launcher calls for each actor in
turn. Everything happens on one thread; other threads of the process may only `post`.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from actorrl.runtime.actor import Actor
from actorrl.runtime.answering import Later, answer_call, run_tell
from actorrl.runtime.calls import Caller
from actorrl.runtime.context import Context
from actorrl.runtime.credit_links import RequestOut, StreamOut
from actorrl.runtime.door import Door
from actorrl.runtime.ledger import Ledger, Loss
from actorrl.runtime.links import NOTHING_SEEN, Asked, Item, LinkOut, StateIn, open_out, travels
from actorrl.runtime.program import Link, Request, State, Stream
from actorrl.runtime.refs import CURRENT
from actorrl.runtime.timers import Timers
from actorrl.wire.blocks import Stamp
from actorrl.wire.messages import Kind, Message

__all__ = ["Context", "Later", "Mailbox"]

IDLE_MS = 1000
_STATE_POLL_MS = 5  # how often an actor that lacks its first weights looks for them


class Mailbox:
    """See the module."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        host: str,
        door: Door,
        links: dict[str, Link],
        inline: bool = False,
        gpus: list[str] | None = None,
        beat: Callable[[], None] = lambda: None,
        directory: str = "",
        idle_ms: int = IDLE_MS,
    ) -> None:
        """`idle_ms`: a round of the loop takes no longer, so often there is a `beat`."""
        self.name = name
        self.beat = beat
        self._idle_ms = idle_ms
        self.door = door
        self.links = links
        self.caller = Caller(door, None if inline else threading.get_ident())
        self.caller.on_other = self._answer_while_waiting
        self.caller.beat = beat
        self.context = Context(self, name, incarnation, host, inline, gpus or [], directory)
        self.outs: dict[str, LinkOut] = {}
        self.states: dict[str, StateIn] = {}
        self.seen: dict[str, Stamp] = {}  # of states: what readers had of our predecessor
        self.ledger: Ledger  # from `adopt` on
        self.waits: dict[str, float] = {"credit": 0.0, "state": 0.0, "input": 0.0}
        self.on_event: Callable[[str, dict[str, Any]], None] = lambda event, details: None
        self.stopping = False
        self._backlog: collections.deque[Message] = collections.deque()
        self._posted: collections.deque[Callable[[], None]] = collections.deque()
        self._timers = Timers()
        self._actor: Actor | None = None
        self._steps = False
        self._awaited: list[StreamOut] = []
        self._needed: list[StateIn] = []

    def adopt(self, actor: Actor) -> None:
        """Give the actor its links and start it. Errors of `on_start` go to the caller."""
        self._actor = actor
        actor.context = self.context
        self.ledger = Ledger(
            self.name, self.context.incarnation, self.links, self.door.ledger_pages
        )
        for link in self.links.values():
            if self.name in link.sources:
                lost = self._lost_handler(link.name)
                seen = self.seen.get(link.name, NOTHING_SEEN)
                self.outs[link.name] = open_out(link, self.door, lost, self.ledger, seen)
            if isinstance(link.kind, State) and self.name in link.targets:
                self.states[link.name] = StateIn(link, self.door)
        self._awaited = [
            out
            for out in self.outs.values()
            if isinstance(out, StreamOut) and _waits(self.links[out.name])
        ]
        self._needed = list(self.states.values())
        self._steps = hasattr(actor, "step")
        self.door.on_peers = self._peers_changed
        self._meet({name for link in self.links.values() for name in link.sources + link.targets})
        self._as_actor(actor.on_start)

    def _lost_handler(self, link: str) -> Callable[[str, int], None]:
        handler = getattr(self._actor, f"lost_{link}", None)
        if handler is None:
            return lambda target, number: None
        # the actor's own code runs in its turn: it may ask again at once
        return lambda target, number: self._posted.append(lambda: handler(target, number))

    # ---- the loop -----------------------------------------------------------------------

    def run(self) -> None:
        """Until `stop`, or until the actor itself calls `sys.exit()`. Whatever else a handler
        raises ends the actor at once."""
        try:
            while not self.stopping:
                self.turn(self._idle_ms)
        except SystemExit as end:
            if end.code not in (None, 0):
                raise
        self._as_actor(self._require_actor().on_stop)

    def stop(self) -> None:
        """May be called by any thread."""
        self.stopping = True
        self.door.wake()

    def post(self, action: Callable[[], None]) -> None:
        self._posted.append(action)
        self.door.wake()

    def schedule(self, seconds: float, action: Callable[[], None], once: bool = False) -> None:
        self._timers.add(seconds, action, once)

    def turn(self, timeout_ms: int) -> bool:
        """One round. Returns whether anything was done."""
        self.beat()
        blocked = self._blocked_by()
        busy = blocked is None or bool(self._backlog or self._posted)
        before = time.monotonic()
        messages = self.door.receive(0 if busy else self._patience_ms(timeout_ms, blocked))
        if not busy and blocked is not None:
            self.waits[blocked] += time.monotonic() - before
        done = self._handle_all(messages)
        if self._blocked_by() is None and not self.stopping:
            self._as_actor(self._require_actor().step)  # type: ignore[attr-defined]
            done = True
        return done

    def handle_arrived(self) -> None:
        """Handle what has come already, without a step. For the in-process launcher."""
        self._handle_all(self.door.receive(0))

    def _blocked_by(self) -> str | None:
        """Why no step can be taken now; None if one can."""
        if self._awaited and any(not out.ready for out in self._awaited):
            return "credit"
        if self._needed and any(state.version == 0 for state in self._needed):
            return "state"
        if not self._steps or not getattr(self._actor, "has_work", lambda: True)():
            return "input"
        return None

    def _patience_ms(self, timeout_ms: int, blocked: str | None) -> int:
        if blocked == "state":
            timeout_ms = min(timeout_ms, _STATE_POLL_MS)
        return self._timers.patience_ms(timeout_ms)

    def _handle_all(self, messages: list[Message]) -> bool:
        done = False
        while self._backlog:
            self._handle(self._backlog.popleft())
            done = True
        for message in messages:
            self._handle(message)
            done = True
        for _ in range(len(self._posted)):  # what they post themselves has its turn later
            self._as_actor(self._posted.popleft())
            done = True
        for action in self._timers.due():
            self._as_actor(action)
            done = True
        return done

    # ---- messages -----------------------------------------------------------------------

    def _handle(self, message: Message) -> None:
        self.beat()
        match message.kind:
            case Kind.CALL | Kind.TELL:
                self.run_method(message, "main")
            case Kind.REPLY | Kind.FAILURE:
                self.caller.handle(message)
            case _:
                self._handle_link(message)

    def _handle_link(self, message: Message) -> None:
        link = self.links.get(message.name)
        if link is None or not travels(message, link, self.name):
            self.door.drops["not a peer of that link"] += 1
            return
        if not self.door.is_current(message):  # its peer was restarted since it came in
            self.door.drops["from an old incarnation"] += 1
            return
        out = self.outs.get(message.name)
        match message.kind:
            case Kind.ITEM:
                self._deliver(message, self._give_credit)
            case Kind.CREDIT:
                assert isinstance(out, StreamOut)
                out.credit(message)
            case Kind.REQUEST:
                assert isinstance(link.kind, Request)
                asked = Asked(message, self.door, link.kind.in_flight)
                self._as_actor(getattr(self._actor, f"serve_{link.name}"), asked)
            case Kind.RESPONSE:
                assert isinstance(out, RequestOut)
                self._deliver(message, out.give_back)
            case Kind.REPORT:
                self._deliver(message, lambda _: None)

    def _deliver(self, message: Message, give_back: Callable[[Message], None]) -> None:
        item = Item(message, give_back)
        if message.kind is Kind.ITEM:
            self.ledger.taken(*_element(message))
        self._as_actor(getattr(self._actor, f"on_{message.name}"), item)
        if not item.held:
            item.release()

    def _give_credit(self, message: Message) -> None:
        self.ledger.done(*_element(message))
        self.door.answer(message, Message(Kind.CREDIT, message.name, slot=message.slot))

    def _answer_while_waiting(self, message: Message) -> None:
        """A link's answer that came while a method waits for a call: credit counts at once, the
        rest has its turn after the method."""
        if message.kind is Kind.CREDIT:
            self._handle_link(message)
        else:
            self._backlog.append(message)

    def run_method(self, message: Message, lane: str) -> None:
        """Run a called method and answer. Its error goes to the caller; that of a `tell` ends the
        actor, since nobody else would hear of it."""
        run = run_tell if message.kind is Kind.TELL else answer_call
        self._as_actor(run, self._require_actor(), message, lane, self.door)

    def _peers_changed(self, changed: list[str]) -> None:
        self.caller.peers_changed(changed)
        self._meet(changed)
        for name in changed:
            for out in self.outs.values():
                if isinstance(out, (StreamOut, RequestOut)):
                    out.peer_changed(name)

    def _meet(self, names: Iterable[str]) -> None:
        """These peers may be others now: count what was lost between those before and us. What is
        in flight when a run ends, and its actors one after the other, is no fault's loss."""
        if self.stopping:
            return
        losses: list[Loss | None] = []
        for name in sorted(names):
            incarnation = self.door.incarnation_of(name)
            losses += [
                self.ledger.meet_target(out.name, name, incarnation)
                for out in self.outs.values()
                if isinstance(out, StreamOut) and name in out.targets
            ]
            losses += self.ledger.meet_source(name, incarnation)
        for loss in filter(None, losses):
            self.on_event("elements_lost", loss._asdict())

    def _as_actor(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        token = CURRENT.set(self.caller)
        try:
            return function(*args, **kwargs)
        finally:
            CURRENT.reset(token)

    @property
    def actor(self) -> Actor | None:
        return self._actor

    def _require_actor(self) -> Actor:
        assert self._actor is not None
        return self._actor


def _element(message: Message) -> tuple[str, str, int, int, int]:
    return message.name, message.source, message.incarnation, message.slot, message.number


def _waits(link: Link) -> bool:
    return isinstance(link.kind, Stream) and link.kind.full == "wait"
