"""Where an endpoint waits: its sockets, descriptors that others watch, and a way to be woken.

What a peer starts and what answers this process come over different sockets (see `endpoint`), but
for visits: a visitor's answers come into the inbox, and it is asked on its own line. Whoever waits
for answers alone then finds other words among them, which are kept for the next full look; once
there are too many, the inbox waits for that.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import zmq

from actorrl.wire.bell import Bell
from actorrl.wire.messages import ANSWERS, Message

# plain numbers: pyzmq's enums cost a microsecond each time they are combined
_POLLIN, _EVENTS = int(zmq.POLLIN), int(zmq.EVENTS)
_DRAIN = 64  # messages taken from one socket before the others have their turn
MAX_EARLY = 4096

Take = Callable[[zmq.Socket], Message | None]


class Intake:
    """One thread's, but for `wake`. `accepts` says whether a message may still be heard."""

    def __init__(self, accepts: Callable[[Message], bool]) -> None:
        self._accepts = accepts
        self._takes: dict[Any, Take] = {}
        self._watched: dict[Any, Callable[[], None]] = {}
        self._all = zmq.Poller()
        self._answers = zmq.Poller()
        self._is_mixed = False
        self._mixed: zmq.Socket | None = None  # the inbox, once answers come there
        self._early: collections.deque[Message] = collections.deque()
        self._bell = Bell()
        for poller in (self._all, self._answers):
            poller.register(self._bell.fd, zmq.POLLIN)

    def attend(self, socket: zmq.Socket, take: Take, answers: bool) -> None:
        """`take` has the next message that waits in the socket; `answers`: they come there."""
        self._takes[socket] = take
        self._all.register(socket, zmq.POLLIN)
        if answers:
            self._answers.register(socket, zmq.POLLIN)

    def mix(self, inbox: zmq.Socket | None = None) -> None:
        """From now on answers come into the inbox, or other words on the lines. Idempotent."""
        self._is_mixed = True
        if inbox is not None and self._mixed is None:
            self._mixed = inbox
            self._answers.register(inbox, zmq.POLLIN)

    def leave(self, socket: zmq.Socket) -> None:
        """A line is about to be closed."""
        del self._takes[socket]
        for poller in (self._all, self._answers):
            if socket in poller:
                poller.unregister(socket)

    def watch(self, source: Any, action: Callable[[], None]) -> None:
        """Run `action` whenever the socket or descriptor `source` can be read."""
        self._watched[source] = action
        self._all.register(source, zmq.POLLIN)

    def wake(self) -> None:
        """End a `receive` that waits; any thread, even after `close`."""
        self._bell.ring()

    def receive(self, timeout_ms: int, answers_only: bool) -> list[Message]:
        """What has come, waiting at most so long for the first of it."""
        received: list[Message] = []
        if not answers_only and self._early:
            received, timeout_ms = self._take_early(), 0
        poller = self._answers if answers_only else self._all
        for socket, _ in poller.poll(timeout_ms):
            take = self._takes.get(socket)
            if take is not None:
                self._drain(socket, take, received)
            elif socket == self._bell.fd:
                self._bell.hear()
            else:
                self._watched[socket]()
        if answers_only and self._is_mixed:
            received = self._keep_early(received)
        return received

    def _drain(self, socket: zmq.Socket, take: Take, received: list[Message]) -> None:
        for _ in range(_DRAIN):
            try:
                message = take(socket)
            except zmq.Again:  # its connection was lost between the poll and now
                return
            if message is not None and self._accepts(message):
                received.append(message)
            if not int(socket.getsockopt(_EVENTS)) & _POLLIN:  # an exception costs ten times more
                return

    def _keep_early(self, received: list[Message]) -> list[Message]:
        self._early.extend(message for message in received if message.kind not in ANSWERS)
        if (
            len(self._early) > MAX_EARLY
            and self._mixed is not None
            and self._mixed in self._answers
        ):
            self._answers.unregister(self._mixed)
        return [message for message in received if message.kind in ANSWERS]

    def _take_early(self) -> list[Message]:
        taken = list(self._early)
        self._early.clear()
        if self._mixed is not None and self._mixed not in self._answers:
            self._answers.register(self._mixed, zmq.POLLIN)
        return [message for message in taken if self._accepts(message)]

    def close(self) -> None:
        self._bell.close()
