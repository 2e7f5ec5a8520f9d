"""The agent's socket to the control threads of its actors."""

from __future__ import annotations

import collections
import time
from collections.abc import Iterator, Mapping

import zmq

from actorrl.runtime import child
from actorrl.runtime.control_socket import received
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
from actorrl.wire.offences import Offences

_OF_ACTORS = (ActorHello, ActorReady, ActorFailed, ActorEvent, Traffic)
_LAST_WORDS_S = 0.2

Word = ActorHello | ActorReady | ActorFailed | ActorEvent | Traffic


class ActorsLine:
    """See the module. `running` is the agent's table of its actors; `drops` counts, by reason, what
    is not said or heard."""

    def __init__(
        self,
        context: zmq.Context,
        address: str,
        running: Mapping[str, Running],
        drops: collections.Counter[str],
    ) -> None:
        self.address = address
        self.socket = sockets.router(context, address)
        self._running = running
        self._drops = drops
        self._offences = Offences(drops, "from an actor")

    def heard(self) -> Iterator[tuple[Running, Word]]:
        """What waits of the present incarnations; who says hello can be told something. Who
        is cut off is not heard: an actor is then never ready, and ended for that."""
        for route, message in received(self.socket, 2, self._offences):
            if not isinstance(message, _OF_ACTORS):
                what = f"{type(message).__name__}, which no actor sends"
                self._offences.note(route.hex(), what)
                continue
            running = self._running.get(message.name)
            if running is None or running.incarnation != message.incarnation:
                self._drops["from an old incarnation"] += 1
                continue
            if isinstance(message, ActorHello):
                running.route = route
            running.has_failed |= isinstance(message, ActorFailed)
            yield running, message

    def last_words(self, running: Running, code: int) -> Iterator[tuple[Running, Word]]:
        """What comes before the notice of its end, and may still be on its way; not for ever, since
        the others go on talking."""
        deadline = time.monotonic() + _LAST_WORDS_S
        while time.monotonic() < deadline:
            is_due = code == child.EXIT_FAILED and not running.has_failed
            if not self.socket.poll(int(_LAST_WORDS_S * 1000) if is_due else 0):
                return
            yield from self.heard()

    def tell(self, running: Running, message: Control) -> None:
        if running.route is None:
            return  # it will say hello, and be told then
        try:
            self.socket.send_multipart([running.route, encode_control(message)], zmq.NOBLOCK)
        except zmq.ZMQError:
            self._drops["word to an actor"] += 1

    def close(self) -> None:
        self.socket.close(linger=0)
