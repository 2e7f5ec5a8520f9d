"""Calls and their futures.

Delivery is at most once. A call that fails says whether its method ran: "no" (never sent, or
refused before it ran), "yes" (it ran and raised), "maybe" (sent, and nothing heard since).
"""

from __future__ import annotations

import threading
import time
import traceback
from typing import Any, Protocol

from actorrl.errors import ActorDied, CallError, CallTimeout, RemoteError, WireError
from actorrl.runtime.refs import NO_LIMIT
from actorrl.wire.messages import Kind, Message

_SLICE_MS = 50  # a waiting thread lets the others of its process at the sockets this often


class Door(Protocol):
    """What a Caller needs of an endpoint."""

    name: str

    def knows(self, name: str) -> bool: ...
    def send(self, to: str, message: Message, num_slots: int = 0) -> bool: ...
    def receive(self, timeout_ms: int, answers_only: bool = False) -> list[Message]: ...


class Future:
    """The answer to one call, once it is there."""

    def __init__(self, caller: Caller, to: str, method: str, deadline: float, timeout_s: float):
        self._caller = caller
        self.to = to
        self.method = method
        self.deadline = deadline
        self._timeout_s = timeout_s
        self.sent = False
        self._done = False
        self._value: Any = None
        self._error: CallError | None = None

    def done(self) -> bool:
        """Whether `result` would return or raise at once."""
        if not self._done:
            self._caller.pump(0)
        return self._done

    def result(self) -> Any:
        """The method's value. Raises RemoteError, ActorDied or CallTimeout; each says `executed`."""
        if not self._done:
            self._caller.wait(self)
        if self._error is not None:
            raise self._error
        return self._value

    def resolve(self, value: Any = None, error: CallError | None = None) -> None:
        self._value, self._error, self._done = value, error, True

    def expire(self) -> None:
        what = f"{self.to}.{self.method}() gave no answer within {self._timeout_s:g} s"
        if not self.sent:
            what = f"{self.to} was not up within {self._timeout_s:g} s: {self.method}() was not sent"
        self.resolve(error=CallTimeout(what, executed="maybe" if self.sent else "no"))


class Caller:
    """A process's calls to actors elsewhere. Several threads of the driver may share one."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._open: dict[int, Future] = {}
        self._unsent: dict[int, Message] = {}
        self._number = 0
        self._lock = threading.RLock()
        self.on_other = lambda message: None  # answers that belong to links: the mailbox takes them
        self.check = lambda: None  # raises when the run is over: nobody would answer any more

    @property
    def name(self) -> str:
        return self._door.name

    def call(
        self, to: str, method: str, args: tuple, kwargs: dict, timeout_s: float, lane: str
    ) -> Future:
        deadline = time.monotonic() + timeout_s
        future = Future(self, to, method, deadline, timeout_s)
        message = Message(
            Kind.CALL, method, [args, kwargs], deadline=None if timeout_s == NO_LIMIT else deadline
        )
        with self._lock:
            self._number += 1
            message.number = self._number
            self._open[message.number] = future
            try:
                future.sent = self._door.send(_line(to, lane), message)
            except WireError:
                del self._open[message.number]
                raise
            if not future.sent:  # its slot is being started (again): sent when it is up
                message.source = _line(to, lane)
                self._unsent[message.number] = message
        return future

    def tell(self, to: str, method: str, args: tuple, kwargs: dict, lane: str) -> None:
        with self._lock:
            if not self._door.send(_line(to, lane), Message(Kind.TELL, method, [args, kwargs])):
                raise ActorDied(f"{to} is not up: {method}() was not sent", executed="no")

    def wait(self, future: Future) -> None:
        while not future._done:
            remaining = future.deadline - time.monotonic()
            if remaining <= 0:
                self._forget(future)
                future.expire()
                return
            self.pump(min(_SLICE_MS, int(remaining * 1000) + 1))

    def pump(self, timeout_ms: int) -> None:
        """Take the answers that have come, waiting at most `timeout_ms` for the first."""
        self.check()
        with self._lock:
            for message in self._door.receive(timeout_ms, answers_only=True):
                self.handle(message)
            if self._unsent:
                self._send_waiting()

    def handle(self, message: Message) -> None:
        """One message that came as an answer."""
        if message.kind not in (Kind.REPLY, Kind.FAILURE):
            self.on_other(message)
            return
        future = self._open.pop(message.number, None)
        if future is None:
            return  # its deadline has passed
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
        for number, message in list(self._unsent.items()):
            future = self._open.get(number)
            if future is None:
                del self._unsent[number]
            elif self._door.knows(message.source) and self._door.send(message.source, message):
                future.sent = True
                del self._unsent[number]

    def _forget(self, future: Future) -> None:
        with self._lock:
            for number, open_future in list(self._open.items()):
                if open_future is future:
                    del self._open[number]
                    self._unsent.pop(number, None)


def _line(to: str, lane: str) -> str:
    return f"{to}!" if lane == "control" else to


def failure_body(error: BaseException, where: str, executed: str) -> dict[str, str]:
    """An error as data: what a FAILURE message carries."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
        "where": where,
        "executed": executed,
    }


def _failure(future: Future, body: dict[str, str]) -> CallError:
    if body["type"] == CallTimeout.__name__:
        return CallTimeout(
            f"{future.to}.{future.method}() was still waiting when its deadline passed",
            executed="no",
        )
    return RemoteError(
        body["type"], body["message"], body["traceback"], body["where"], body["executed"]
    )


__all__ = ["Caller", "Door", "Future", "failure_body"]
