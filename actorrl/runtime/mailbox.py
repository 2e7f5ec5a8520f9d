"""The one loop of an actor: what has come in, what is due, then one step of its own.

The mailbox owns the actor's endpoint and both kinds of link ends. `run` is the loop of an
actor's process; `turn` is one round of it, which the in-process launcher calls for each actor in
turn. Everything happens on one thread; other threads of the process may only `post`.
"""

from __future__ import annotations

import collections
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Any

from actorrl.errors import CallTimeout, WireError
from actorrl.runtime.actor import Actor, lane_of
from actorrl.runtime.calls import Caller, failure_body
from actorrl.runtime.links import (
    Asked,
    Item,
    LinkOut,
    ReportOut,
    RequestOut,
    StateIn,
    StateOut,
    StreamOut,
    open_out,
)
from actorrl.runtime.program import Link, Request, State, Stream
from actorrl.runtime.refs import CURRENT
from actorrl.wire.messages import Kind, Message

_IDLE_MS = 200
_STATE_POLL_MS = 5  # how often an actor that lacks its first weights looks for them


class Later:
    """What a remote method returns to answer its call later, from the actor's main thread."""

    def __init__(self) -> None:
        self._send: Callable[[Any], None] | None = None
        self._value: list[Any] = []

    def resolve(self, value: Any = None) -> None:
        if self._send is None:
            self._value = [value]
        else:
            self._send(value)

    def attach(self, send: Callable[[Any], None]) -> None:
        self._send = send
        if self._value:
            send(self._value[0])


class Context:
    """What an actor knows of its place. `inline` says that all actors share one thread: then no
    actor may start threads of its own or wait."""

    def __init__(
        self,
        mailbox: Mailbox,
        name: str,
        incarnation: int,
        host: str,
        inline: bool,
        gpus: list[str],
    ) -> None:
        self._mailbox = mailbox
        self.name = name
        self.role, _, index = name.partition("/")
        self.index = int(index)
        self.incarnation = incarnation
        self.host = host
        self.inline = inline
        self.gpus = gpus

    def stream(self, link: str) -> StreamOut:
        return self._out(link, StreamOut)

    def requests(self, link: str) -> RequestOut:
        return self._out(link, RequestOut)

    def publisher(self, link: str) -> StateOut:
        return self._out(link, StateOut)

    def report(self, link: str) -> ReportOut:
        return self._out(link, ReportOut)

    def state(self, link: str) -> StateIn:
        return self._mailbox.states[link]

    def has_link(self, link: str) -> bool:
        return link in self._mailbox.outs or link in self._mailbox.states

    def _out(self, link: str, cls: type) -> Any:
        out = self._mailbox.outs.get(link)
        assert isinstance(out, cls), f"{self.name} has no outgoing {cls.__name__} {link!r}"
        return out

    def every(self, seconds: float, action: Callable[[], None]) -> None:
        """Run `action` on the main thread about every `seconds`, between messages."""
        self._mailbox.schedule(seconds, action)

    def post(self, action: Callable[[], None]) -> None:
        """Run `action` on the main thread soon. The only method that other threads may call."""
        self._mailbox.post(action)

    @property
    def waits(self) -> dict[str, float]:
        """Seconds since the start that this actor spent waiting: for `credit`, `state`, `input`."""
        return dict(self._mailbox.waits)

    @property
    def drops(self) -> dict[str, int]:
        return dict(self._mailbox.door.drops)


class Mailbox:
    """See the module."""

    def __init__(
        self,
        name: str,
        incarnation: int,
        host: str,
        door: Any,
        links: dict[str, Link],
        inline: bool = False,
        gpus: list[str] | None = None,
    ) -> None:
        self.name = name
        self.door = door
        self.links = links
        self.caller = Caller(door)
        self.caller.on_other = self._answer_while_waiting
        self.context = Context(self, name, incarnation, host, inline, gpus or [])
        self.outs: dict[str, LinkOut] = {}
        self.states: dict[str, StateIn] = {}
        self.waits: dict[str, float] = {"credit": 0.0, "state": 0.0, "input": 0.0}
        self.beats = 0  # grows with every message and step: the main loop is alive
        self.stopping = False
        self._backlog: collections.deque[Message] = collections.deque()
        self._posted: collections.deque[Callable[[], None]] = collections.deque()
        self._timers: list[tuple[float, int, float, Callable[[], None]]] = []
        self._order = itertools.count()
        self._actor: Actor | None = None
        self._steps = False
        self._awaited: list[StreamOut] = []
        self._needed: list[StateIn] = []

    def adopt(self, actor: Actor) -> None:
        """Give the actor its links and start it. Errors of `on_start` go to the caller."""
        self._actor = actor
        actor.context = self.context
        for link in self.links.values():
            if self.name in link.sources:
                self.outs[link.name] = open_out(link, self.door, self._lost_handler(link.name))
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
        self._as_actor(actor.on_start)

    def _lost_handler(self, link: str) -> Callable[[str, int], None]:
        handler = getattr(self._actor, f"lost_{link}", None)
        if handler is None:
            return lambda target, number: None
        # the actor's own code runs in its turn: it may ask again at once
        return lambda target, number: self._posted.append(lambda: handler(target, number))

    # ---- the loop -----------------------------------------------------------------------

    def run(self) -> None:
        """Until `stop`. Whatever a handler raises ends the actor."""
        while not self.stopping:
            self.turn(_IDLE_MS)
        self._as_actor(self._require_actor().on_stop)

    def stop(self) -> None:
        """May be called by any thread."""
        self.stopping = True
        self.door.wake()

    def post(self, action: Callable[[], None]) -> None:
        self._posted.append(action)
        self.door.wake()

    def schedule(self, seconds: float, action: Callable[[], None]) -> None:
        due = time.monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._order), seconds, action))

    def turn(self, timeout_ms: int) -> bool:
        """One round. Returns whether anything was done."""
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
        self.beats += done
        return done

    def _blocked_by(self) -> str | None:
        """Why no step can be taken now; None if one can."""
        if any(not out.ready for out in self._awaited):
            return "credit"
        if any(state.version == 0 for state in self._needed):
            return "state"
        if not self._steps or not getattr(self._actor, "has_work", lambda: True)():
            return "input"
        return None

    def _patience_ms(self, timeout_ms: int, blocked: str | None) -> int:
        if blocked == "state":
            timeout_ms = min(timeout_ms, _STATE_POLL_MS)
        if self._timers:
            until_due = (self._timers[0][0] - time.monotonic()) * 1000
            timeout_ms = min(timeout_ms, max(0, int(until_due) + 1))
        return timeout_ms

    def _handle_all(self, messages: list[Message]) -> bool:
        done = False
        while self._backlog:
            self._handle(self._backlog.popleft())
            done = True
        for message in messages:
            self._handle(message)
            done = True
        while self._posted:
            self._as_actor(self._posted.popleft())
            done = True
        while self._timers and self._timers[0][0] <= time.monotonic():
            _, _, seconds, action = heapq.heappop(self._timers)
            self._as_actor(action)
            self.schedule(seconds, action)
            done = True
        return done

    # ---- messages -----------------------------------------------------------------------

    def _handle(self, message: Message) -> None:
        match message.kind:
            case Kind.CALL | Kind.TELL:
                self.run_method(message, "main")
            case Kind.REPLY | Kind.FAILURE:
                self.caller.handle(message)
            case _:
                self._handle_link(message)

    def _handle_link(self, message: Message) -> None:
        link = self.links.get(message.name)
        asks = message.kind in (Kind.ITEM, Kind.REQUEST, Kind.REPORT)
        allowed = link is not None and message.source in (link.sources if asks else link.targets)
        if link is None or not allowed:
            self.door.drops["not a peer of that link"] += 1
            return
        match message.kind:
            case Kind.ITEM:
                self._deliver(message, self._give_credit)
            case Kind.CREDIT:
                out = self.outs[message.name]
                assert isinstance(out, StreamOut)
                out.credit(message)
            case Kind.REQUEST:
                assert isinstance(link.kind, Request)
                asked = Asked(message, self.door, link.kind.in_flight)
                self._as_actor(getattr(self._actor, f"serve_{link.name}"), asked)
            case Kind.RESPONSE:
                out = self.outs[message.name]
                assert isinstance(out, RequestOut)
                self._deliver(message, out.give_back)
            case Kind.REPORT:
                self._deliver(message, lambda _: None)

    def _deliver(self, message: Message, give_back: Callable[[Message], None]) -> None:
        item = Item(message, give_back)
        self._as_actor(getattr(self._actor, f"on_{message.name}"), item)
        if not item.held:
            item.release()

    def _give_credit(self, message: Message) -> None:
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
        if message.kind is Kind.TELL:
            args, kwargs = message.body
            self._as_actor(self._method(message.name, lane), *args, **kwargs)
            return
        self._as_actor(answer_call, self._require_actor(), message, lane, self.door)

    def _method(self, name: str, lane: str) -> Callable[..., Any]:
        actor = self._require_actor()
        if lane_of(type(actor), name) != lane:
            raise AttributeError(f"{type(actor).__name__} has no remote method {name!r}")
        return getattr(actor, name)

    def _peers_changed(self, changed: list[str]) -> None:
        self.caller.peers_changed(changed)
        for name in changed:
            for out in self.outs.values():
                if isinstance(out, (StreamOut, RequestOut)):
                    out.peer_changed(name)

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


def _waits(link: Link) -> bool:
    return isinstance(link.kind, Stream) and link.kind.full == "wait"


def answer_call(actor: Actor, message: Message, lane: str, door: Any) -> None:
    """Run the method that `message` calls and send its value, its error, or why it was not run."""
    where = f"{door.name} (incarnation {door.incarnation})"

    def reply(value: Any) -> None:
        try:
            door.answer(message, Message(Kind.REPLY, message.name, value, number=message.number))
        except WireError as error:
            fail(error, "yes")

    def fail(error: BaseException, executed: str) -> None:
        body = failure_body(error, where, executed)
        door.answer(message, Message(Kind.FAILURE, message.name, body, number=message.number))

    if message.deadline is not None and time.monotonic() > message.deadline:
        fail(CallTimeout("its deadline passed before it ran", "no"), "no")
        return
    if lane_of(type(actor), message.name) != lane:
        known = f"{type(actor).__name__} has no remote method {message.name!r}"
        fail(AttributeError(known), "no")
        return
    try:
        args, kwargs = message.body
        value = getattr(actor, message.name)(*args, **kwargs)
    except Exception as error:
        fail(error, "yes")
        return
    if isinstance(value, Later):
        value.attach(reply)
    else:
        reply(value)
