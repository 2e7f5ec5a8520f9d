"""Who may come in over TCP, and what became of whom this process dials.

One per ZeroMQ context, on a thread of its own: handshakes must not wait for an actor that is busy
with a step. It answers ZeroMQ's question whether a key may come in (ZAP, RFC 27) from a list of
keys for each listener, and reads the monitors of listeners and lines.

A key that is not listed may be listed in a moment: the news of a restart reach who dials and who is
dialled at different times. So its request is held for a while before it is refused.
"""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from actorrl.wire import sockets
from actorrl.wire.bell import Bell
from actorrl.wire.keys import Owner
from actorrl.wire.line_watch import LineWatch

HOLD_S = 2.0
MAX_HELD = 64  # beyond, an unknown key is refused at once
_JOIN_S = 5.0
_NOBODY: Mapping[str, Owner] = {}


class _Request(NamedTuple):
    route: list[bytes]
    number: bytes
    domain: str
    key: str
    until: float


class Doorkeeper:
    """All methods may be called by any thread; `on_broken` is called on its own."""

    def __init__(
        self, context: zmq.Context, on_broken: Callable[[str], None] = lambda line: None
    ) -> None:
        self.refused: collections.Counter[str] = collections.Counter()
        self._context = context
        self._on_broken = on_broken
        self._owners: dict[str, Mapping[str, Owner]] = {}
        self._banned: set[str] = set()
        self._held: list[_Request] = []
        self._lines = LineWatch()
        self._monitors: dict[zmq.Socket, str] = {}  # of a line, by name; "": of a listener
        self._orders: collections.deque[Callable[[], None]] = collections.deque()
        self._ended = False
        self._bell = Bell()
        self._poller = zmq.Poller()
        self._zap = sockets.zap_handler(context)
        self._thread = threading.Thread(target=self._run, name="doorkeeper", daemon=True)
        self._thread.start()

    # ---- by any thread ------------------------------------------------------------------

    def admit(self, domain: str, owners: Mapping[str, Owner]) -> None:
        """From now on these keys, and no others, may come in at the listener of that domain. Who is
        in with another key is heard no more: `owner` does not know it."""
        self._owners[domain] = dict(owners)
        self._bell.ring()

    def ban(self, key: str) -> None:
        """Never let this key in again, nor listen to it."""
        self._banned.add(key)

    def owner(self, domain: str, key: str) -> Owner | None:
        """Whose key it is, if it may come in."""
        return None if key in self._banned else self._owners.get(domain, _NOBODY).get(key)

    @property
    def num_refused(self) -> int:
        """Handshakes that came to nothing at our listeners."""
        return sum(dict(self.refused).values())

    @property
    def trouble(self) -> dict[str, str]:
        """By line, why it is not up although it ought to be."""
        return dict(self._lines.trouble)

    def watch_listener(self, socket: zmq.Socket) -> None:
        """Count the handshakes that fail there before a key is shown."""
        self._order(self._watch, sockets.monitor(self._context, socket), "", "")

    def watch_line(self, name: str, address: str, monitor: zmq.Socket) -> None:
        """Watch a line that was just dialled."""
        self._order(self._watch, monitor, name, address)

    def hung_up(self, name: str, forget: bool) -> None:
        """A line was closed, and (`forget`) its peer is gone."""
        self._order(self._unwatch, name, forget)

    def close(self) -> None:
        """Before the context is ended. Idempotent."""
        self._ended = True
        self._bell.ring()
        self._thread.join(timeout=_JOIN_S)
        self._bell.close()

    def _order(self, action: Callable[..., None], *args: object) -> None:
        self._orders.append(lambda: action(*args))
        self._bell.ring()

    # ---- the thread ---------------------------------------------------------------------

    def _run(self) -> None:
        self._poller.register(self._zap, zmq.POLLIN)
        self._poller.register(self._bell.fd, zmq.POLLIN)
        try:
            while not self._ended:
                self._turn()
        except zmq.ContextTerminated:
            pass
        finally:
            self._zap.close()
            for monitor in self._monitors:
                monitor.close()

    def _turn(self) -> None:
        for source, _ in self._poller.poll(self._patience_ms()):
            if source == self._bell.fd:
                self._bell.hear()
            elif source is self._zap:
                self._take_request()
            else:
                self._take_event(source)
        while self._orders:
            self._orders.popleft()()
        self._judge_held()
        for name in self._lines.look(time.monotonic()):
            self._on_broken(name)

    def _patience_ms(self) -> int | None:
        times = [request.until for request in self._held]
        look = self._lines.next_look()
        if look is not None:
            times.append(look)
        return max(0, int((min(times) - time.monotonic()) * 1000) + 1) if times else None

    # ---- keys ---------------------------------------------------------------------------

    def _take_request(self) -> None:
        frames = self._zap.recv_multipart()
        start = frames.index(b"") + 1
        _, number, domain, _, _, mechanism, *credentials = frames[start:]
        key = z85.encode(credentials[0]).decode() if mechanism == b"CURVE" else ""
        until = time.monotonic() + HOLD_S
        self._held.append(_Request(frames[:start], number, domain.decode(), key, until))

    def _judge_held(self) -> None:
        now = time.monotonic()
        waiting: list[_Request] = []
        for request in self._held:
            if self.owner(request.domain, request.key) is not None:
                self._reply(request, b"200", request.key.encode())
            elif now >= request.until or request.key in self._banned or len(waiting) >= MAX_HELD:
                self.refused["unknown key"] += 1
                self._reply(request, b"400", b"")
            else:
                waiting.append(request)
        self._held = waiting

    def _reply(self, request: _Request, status: bytes, user: bytes) -> None:
        reply = [*request.route, b"1.0", request.number, status, b"", user, b""]
        self._zap.send_multipart(reply, zmq.NOBLOCK)

    # ---- monitors -----------------------------------------------------------------------

    def _watch(self, monitor: zmq.Socket, name: str, address: str) -> None:
        self._monitors[monitor] = name
        self._poller.register(monitor, zmq.POLLIN)
        if name:
            self._lines.dialled(name, address, time.monotonic())

    def _unwatch(self, name: str, forget: bool) -> None:
        for monitor in [m for m, line in self._monitors.items() if line == name]:
            self._drop_monitor(monitor)
        self._lines.hung_up(name)
        if forget:
            self._lines.forget(name)

    def _drop_monitor(self, monitor: zmq.Socket) -> None:
        del self._monitors[monitor]
        self._poller.unregister(monitor)
        monitor.close()

    def _take_event(self, monitor: zmq.Socket) -> None:
        name = self._monitors[monitor]
        event = int(recv_monitor_message(monitor)["event"])
        if event == zmq.EVENT_MONITOR_STOPPED:
            self._drop_monitor(monitor)
        elif not name:
            self.refused["no handshake"] += 1
        elif self._lines.event(name, event, time.monotonic()):
            self._on_broken(name)


def key_of(frame: zmq.Frame) -> str:
    """The public key that the connection has shown on which a frame came; empty if none."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return ""
