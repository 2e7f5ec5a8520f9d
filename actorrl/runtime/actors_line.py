"""The agent's socket to the control threads of its actors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

import zmq

from actorrl.runtime import child
from actorrl.runtime.control_socket import Offences, received
from actorrl.runtime.running import Running
from actorrl.wire import sockets
from actorrl.wire.control_messages import (
    ActorEvent,
    ActorFailed,
    ActorHello,
    ActorReady,
    Control,
    Traffic,
    encode_control,
)

_OF_ACTORS = (ActorHello, ActorReady, ActorFailed, ActorEvent, Traffic)
_LAST_WORDS_S = 0.2

Word = ActorHello | ActorReady | ActorFailed | ActorEvent | Traffic


class ActorsLine:
    """See the module. `running` is the agent's table of its actors."""

    def __init__(self, context: zmq.Context, address: str, running: Mapping[str, Running]) -> None:
        self.address = address
        self.socket = sockets.router(context, address)
        self._running = running
        self.offences = Offences("from an actor")

    def heard(self) -> Iterator[tuple[Running, Word]]:
        """All that waits of the present incarnations; who says hello can be told something. Who
        is cut off is not heard: an actor is then never ready, and ended for that."""
        for route, message in received(self.socket, 2, self.offences):
            if not isinstance(message, _OF_ACTORS):
                self.offences.note(route, f"{type(message).__name__}, which no actor sends")
                continue
            running = self._running.get(message.name)
            if running is None or running.incarnation != message.incarnation:
                continue
            if isinstance(message, ActorHello):
                running.route = route
            running.has_failed |= isinstance(message, ActorFailed)
            yield running, message

    def last_words(self, running: Running, code: int) -> Iterator[tuple[Running, Word]]:
        """What comes before the notice of its end, and may still be on its way."""
        yield from self.heard()
        deadline = time.monotonic() + _LAST_WORDS_S
        while code == child.EXIT_FAILED and not running.has_failed:
            if time.monotonic() > deadline or not self.socket.poll(int(_LAST_WORDS_S * 1000)):
                return
            yield from self.heard()

    def tell(self, running: Running, message: Control) -> None:
        if running.route is not None:
            with contextlib.suppress(zmq.ZMQError):
                self.socket.send_multipart([running.route, encode_control(message)], zmq.NOBLOCK)

    def close(self) -> None:
        self.socket.close(linger=0)
