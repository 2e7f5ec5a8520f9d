"""Running a called method and answering: now, later, or with its error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from actorrl.errors import CallTimeout, WireError
from actorrl.runtime.actor import Actor, driver_only, lane_of
from actorrl.runtime.failure import Failure
from actorrl.runtime.refs import DRIVER
from actorrl.wire.messages import Kind, Message


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


def answer_call(actor: Actor, message: Message, lane: str, door: Any) -> None:
    """Run the method that `message` calls and send its value, its error, or why it was not run."""

    def reply(value: Any) -> None:
        try:
            door.answer(message, Message(Kind.REPLY, message.name, value, number=message.number))
        except WireError as error:
            fail(error, "yes")

    def fail(error: BaseException, executed: str) -> None:
        body = Failure.of(error, where(actor), executed).to_body()
        door.answer(message, Message(Kind.FAILURE, message.name, body, number=message.number))

    if message.deadline is not None and time.monotonic() > message.deadline:
        fail(CallTimeout("its deadline passed before it ran", "no"), "no")
        return
    if not may_run(actor, message, lane):
        known = f"{type(actor).__name__} has no remote method {message.name!r}"
        fail(AttributeError(known), "no")
        return
    try:
        args, kwargs = message.body
        value = getattr(actor, message.name)(*args, **kwargs)
        if lane == "control" and isinstance(value, Later):
            raise TypeError("a method of the control lane answers at once, not Later")
    except Exception as error:
        fail(error, "yes")
        return
    if isinstance(value, Later):
        value.attach(reply)
    else:
        reply(value)


def run_tell(actor: Actor, message: Message, lane: str, door: Any) -> None:
    """Run a method that nobody waits for. Its error goes to the caller, who ends the actor; what is
    no method of it is dropped and counted, since it is the sender's mistake."""
    if not may_run(actor, message, lane):
        door.drops["told a method that is not there"] += 1
        print(f"{message.source} told {message.name!r}, no such remote method", file=sys.stderr)
        return
    if not _holds_arguments(message.body):
        door.drops["told a method without arguments"] += 1
        return
    args, kwargs = message.body
    getattr(actor, message.name)(*args, **kwargs)


def _holds_arguments(body: Any) -> bool:
    """Whether it can be taken apart as a method's arguments: a list of values, a dict of named
    ones. Whether they are those of the method, the method says."""
    match body:
        case [list(), dict() as named]:
            return all(isinstance(name, str) for name in named)
    return False


def may_run(actor: Actor, message: Message, lane: str) -> bool:
    """The main lane also takes a control method, from a sender that did not know better."""
    known = lane_of(type(actor), message.name)
    if driver_only(type(actor), message.name) and message.source != DRIVER:
        return False
    return known is not None and lane in (known, "main")


def where(actor: Actor) -> str:
    """Which process, for an error that travels."""
    context = actor.context
    return (
        f"{context.name} (incarnation {context.incarnation}, pid {os.getpid()},"
        f" host {context.host})"
    )
