"""Calls and their futures.

Delivery is at most once. A call that fails says whether its method ran: "no" (never sent, or
refused before it ran), "yes" (it ran and raised), "maybe" (sent, and nothing heard since).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from actorrl.errors import ActorDied, CallCycle, CallError, CallTimeout, RemoteError, WireError
from actorrl.runtime.door import Door
from actorrl.runtime.failure import Failure
from actorrl.runtime.refs import NO_LIMIT
from actorrl.runtime.turns import Turns
from actorrl.wire.messages import Kind, Message

_SLICE_MS = 50  # a waiting thread lets the others of its process at the door this often
_MANY_OPEN = 256  # from so many open calls on, answers are taken before the next one is sent
MAX_OPEN = 1 << 16  # of a process, in all
MAX_UNSENT = 4096  # to one slot that is not up
_SWEEP_S = 0.5  # how often calls are looked for whose time is over, and nobody waits for them


class Future:
    """The answer to one call, once it is there."""

    def __init__(self, caller: Caller, to: str, method: str, timeout_s: float) -> None:
        self._caller = caller
        self.to = to
        self.method = method
        self.timeout_s = timeout_s
        self.deadline = time.monotonic() + timeout_s
        self.number = 0
        self.line = ""  # on which it waits until it is sent
        self.sent = False
        self.resolved = False
        self._value: Any = None
        self._error: Exception | None = None

    def done(self) -> bool:
        """Whether `result` would return or raise at once."""
        if not self.resolved:
            self._caller.pump(self, 0)
        return self.resolved

    def result(self) -> Any:
        """The method's value. Raises RemoteError, ActorDied, CallTimeout; each says `executed`."""
        if not self.resolved:
            self._caller.wait(self)
        if isinstance(self._error, ActorDied):
            self._caller.check()  # if the run is over, that is the better answer
        if self._error is not None:
            raise self._error
        return self._value

    def resolve(self, value: Any = None, error: Exception | None = None) -> None:
        self._value, self._error, self.resolved = value, error, True

    def expire(self) -> None:
        what = f"{self.to}.{self.method}() gave no answer within {self.timeout_s:g} s"
        if not self.sent:
            what = f"{self.to} was not up within {self.timeout_s:g} s: {self.method}() was not sent"
        self.resolve(error=CallTimeout(what, executed="maybe" if self.sent else "no"))


class Caller:
    """A process's calls to actors elsewhere. All threads of the driver share one; that of an actor
    belongs to its main thread (`only_thread`), since its door does."""

    def __init__(self, door: Door, only_thread: int | None = None) -> None:
        self._door = door
        self._only_thread = only_thread
        self._turns = Turns(door.wake)
        self._open: dict[int, Future] = {}
        self._unsent: dict[str, dict[int, Message]] = {}  # line -> number -> message, in order
        self._next_sweep = 0.0
        self._number = 0
        self._closed = False
        # answers that belong to links: the mailbox takes them
        self.on_other: Callable[[Message], None] = lambda message: None
        # raises when the run is over: nobody would answer any more
        self.check: Callable[[], None] = lambda: None
        # whoever waits does not hang: the call's deadline ends it
        self.beat: Callable[[], None] = lambda: None

    @property
    def name(self) -> str:
        return self._door.name

    def call(
        self, to: str, method: str, args: tuple, kwargs: dict, timeout_s: float, lane: str
    ) -> Future:
        """Raises CallError where too many calls are open, to that slot or in all."""
        self._check_usable(to, method)
        future = Future(self, to, method, timeout_s)
        deadline = None if timeout_s == NO_LIMIT else future.deadline
        message = Message(Kind.CALL, method, [list(args), kwargs], deadline=deadline)
        with self._turns.take():
            self._look_up()
            if len(self._open) >= MAX_OPEN:
                raise self._too_many(f"{MAX_OPEN} calls have no answer yet", future)
            self._number += 1
            message.number = future.number = self._number
            self._open[future.number] = future
            try:
                self._send(future, _line(to, lane), message)
            except BaseException:
                self._forget(future)
                raise
        return future

    def _look_up(self) -> None:
        """Before something is sent: who is up, and, if many calls are open, their answers."""
        if self._closed:
            raise CallError("the run has been stopped", executed="no")
        self._door.take_peers()
        if len(self._open) >= _MANY_OPEN:  # else the answers would fill up the socket, and be lost
            self._take_answers(0)
            self._expire()
        self._send_waiting()

    def _send(self, future: Future, line: str, message: Message) -> None:
        """Now, or when its slot is up again; not before what waits for the same slot already."""
        if line not in self._unsent and self._door.send(line, message):
            future.sent = True
            return
        waiting = self._unsent.setdefault(line, {})
        if len(waiting) >= MAX_UNSENT:
            raise self._too_many(f"{MAX_UNSENT} calls wait until {future.to} is up", future)
        waiting[future.number] = message
        future.line = line

    def _too_many(self, why: str, future: Future) -> CallError:
        what = f"{why}: {future.to}.{future.method}() was not sent; wait for some of them first"
        return CallError(what, executed="no")

    def tell(self, to: str, method: str, args: tuple, kwargs: dict, lane: str) -> None:
        self._check_usable(to, method)
        with self._turns.take():
            self._look_up()
            if not self._door.knows(to):
                raise ActorDied(f"{to} is not up: {method}() was not sent", executed="no")
            if not self._door.send(
                _line(to, lane), Message(Kind.TELL, method, [list(args), kwargs])
            ):
                raise CallError(f"{to} does not keep up: {method}() was not sent", executed="no")

    def wait(self, future: Future) -> None:
        if future.to == self.name and self._only_thread is not None:
            raise CallCycle(f"{self.name} waits for its own {future.method}()", executed="maybe")
        while not future.resolved:
            self.beat()
            remaining_ms = (future.deadline - time.monotonic()) * 1000
            if remaining_ms <= 0:
                with self._turns.take():
                    if not future.resolved:  # while it waited for its turn, by another thread
                        self._forget(future)
                        future.expire()
                return
            self.pump(future, int(min(_SLICE_MS, remaining_ms + 1)))

    def pump(self, future: Future, timeout_ms: int) -> None:
        """Take the answers that have come, waiting at most `timeout_ms` for the first."""
        self._check_usable(future.to, future.method)
        self.check()
        with self._turns.take(hurry=False):
            if not future.resolved:  # else another thread has taken the answer meanwhile
                self._take_answers(timeout_ms)
                self._send_waiting()

    def _take_answers(self, timeout_ms: int) -> None:
        for message in self._door.receive(timeout_ms, answers_only=True):
            self.handle(message)

    def receive(self, timeout_ms: int) -> list[Message]:
        """For the driver: take, and return, all that has come; answers find their futures."""
        self.check()
        with self._turns.take(hurry=False):
            if self._closed:
                return []
            messages = self._door.receive(timeout_ms)
            for message in messages:
                self.handle(message)
            self._send_waiting()
        return messages

    def handle(self, message: Message) -> None:
        """One message that came as an answer."""
        if message.kind not in (Kind.REPLY, Kind.FAILURE):
            self.on_other(message)
            return
        future = self._open.get(message.number)
        if future is None:
            self._door.drops["answer after the deadline of its call"] += 1
            return
        if future.to != message.source:
            self._door.drops["answer to another's call"] += 1
            return
        del self._open[message.number]
        if message.kind is Kind.REPLY:
            future.resolve(message.body)
        else:
            future.resolve(error=_failure(future, message.body))

    def peers_changed(self, names: list[str]) -> None:
        """Some peers are new, gone or restarted: what was sent to their old selves is lost."""
        changed = set(names)
        for number, future in list(self._open.items()):
            if future.to in changed and future.sent:
                del self._open[number]
                future.resolve(error=ActorDied(f"{future.to} died during {future.method}()"))
        self._send_waiting()

    def _send_waiting(self) -> None:
        """What waited for its slot to be up, in order."""
        if not self._unsent:
            return
        self._expire()
        for line, waiting in list(self._unsent.items()):
            while waiting and self._door.knows(line):
                number, message = next(iter(waiting.items()))
                if not self._send_one(number, line, message):
                    break
                waiting.pop(number, None)
            if not waiting:
                self._unsent.pop(line, None)

    def _send_one(self, number: int, line: str, message: Message) -> bool:
        """Whether it is done with: sent, refused, or answered by somebody who was not asked."""
        future = self._open.get(number)
        if future is None:
            return True
        try:
            future.sent = self._door.send(line, message)
        except WireError as error:
            self._forget(future)
            future.resolve(error=error)
            return True
        return future.sent

    def _expire(self) -> None:
        """End the calls whose deadline has passed; perhaps nobody waits for them."""
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + _SWEEP_S
        for future in [future for future in self._open.values() if future.deadline <= now]:
            self._forget(future)
            future.expire()

    def _forget(self, future: Future) -> None:
        self._open.pop(future.number, None)
        if future.line in self._unsent:
            self._unsent[future.line].pop(future.number, None)

    def _check_usable(self, to: str, method: str) -> None:
        if self._only_thread is not None and threading.get_ident() != self._only_thread:
            raise CallError(
                f"{to}.{method}(): only {self.name}'s main thread may talk to other actors;"
                " hand it over with context.post",
                executed="no",
            )

    def close(self) -> None:
        """The run is over: whoever waits is told, and nobody comes to the door any more."""
        with self._turns.take():
            self._closed = True
            for future in self._open.values():
                executed = "maybe" if future.sent else "no"
                error = ActorDied(f"{future.to} was stopped during {future.method}()", executed)
                future.resolve(error=error)
            self._open.clear()
            self._unsent.clear()
            self._door.close()


def _line(to: str, lane: str) -> str:
    return f"{to}!" if lane == "control" else to


def _failure(future: Future, body: Any) -> CallError:
    failure = Failure.from_body(body)
    if failure.type_name == CallTimeout.__name__ and failure.executed == "no":
        return CallTimeout(
            f"{future.to}.{future.method}() was still waiting when its deadline passed",
            executed="no",
        )
    return RemoteError(
        failure.type_name, failure.message, failure.traceback, failure.where, failure.executed
    )
