"""An agent's line to its driver: the control socket, the beats on a socket of their own, and the
lifeline.

On the driver's own host the lifeline is the driver's pidfd, and its end is the end of the run. On
another host it is standard input; once that has ended, the agent goes on while the driver's beats
come, and for a lease after the last of them: an SSH connection may break and the run go on. While
it holds, no silence ends anything, since a stalled driver is silent, too.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import time
from typing import Any

import psutil
import zmq

from actorrl.runtime.control_socket import encoded, received
from actorrl.wire import sockets
from actorrl.wire.control_messages import (
    ActorEvent,
    AgentConfig,
    Beat,
    Control,
    Health,
    LogLines,
    Stack,
    Traffic,
    encode_control,
)
from actorrl.wire.doorkeeper import Doorkeeper
from actorrl.wire.offences import Offences

BEAT_S = 1.0
_GAP_S = 5.0  # between two looks: it was us who stood still
# what is said again anyway, or only looked at; not events, which are said once and counted, nor the
# few words of an actor's life
_MAY_BE_LOST = (Health, LogLines, Stack, Traffic)
_MAX_WAITING = 1 << 16
_MAX_BEFORE_EVENTS = _MAX_WAITING // 2  # an actor may tell of any number; its end has room still


class Lease:
    """When an agent that has lost its lifeline gives up. Pure: time is passed in."""

    def __init__(self, lease_s: float, now: float) -> None:
        self._lease_s = lease_s
        self._heard = self._looked = now
        self._broken = False

    def heard(self, now: float) -> None:
        self._heard = now

    def broken(self) -> None:
        self._broken = True

    def mended(self) -> None:
        self._broken = False

    def is_over(self, now: float) -> bool:
        if now - self._looked > _GAP_S:
            self._heard += now - self._looked
        self._looked = now
        return self._broken and now - self._heard > self._lease_s


class DriverLine:
    """See the module. One thread's. `drops` counts, by reason, what is not said or heard."""

    def __init__(
        self, config: AgentConfig, context: zmq.Context, drops: collections.Counter[str]
    ) -> None:
        self._config = config
        self._keeper: Doorkeeper | None = None
        self._was_broken = threading.Event()  # the connection is a new one: say hello again
        if config.tcp is not None and config.driver_key:
            self._keeper = Doorkeeper(context, lambda line: self._was_broken.set())
        self.control = self._dial(context, "driver", config.driver_address)
        self.beats = self._dial(context, "beats", config.beat_address)
        self._drops = drops
        self._waiting: collections.deque[Control] = collections.deque()
        self.offences = Offences(drops, "from the driver")
        self._next_beat = 0.0
        self._lease = Lease(config.lease_s, time.monotonic())
        self._is_local = config.driver_pid > 0
        self.lifeline = watch_parent(config.driver_pid) if self._is_local else 0
        self._holder = 0  # the process that is the lifeline in place of standard input
        psutil.cpu_percent()  # counts from here

    def _dial(self, context: zmq.Context, name: str, address: str) -> zmq.Socket:
        if self._keeper is None or self._config.tcp is None:
            return sockets.dealer(context, address)
        socket, monitor = sockets.tcp_dealer(
            context, address, self._config.driver_key, self._config.tcp
        )
        self._keeper.watch_line(name, address, monitor)
        return socket

    def sources(self) -> list[Any]:
        """What its owner polls."""
        return [self.control, self.beats, self.lifeline]

    def say(self, message: Control) -> None:
        """Now, or once the driver takes something: it may stand still. What it can do without is
        dropped meanwhile, and counted."""
        if self._say_waiting() and self._is_sent(message):
            return
        limit = _MAX_BEFORE_EVENTS if isinstance(message, ActorEvent) else _MAX_WAITING
        if isinstance(message, _MAY_BE_LOST) or len(self._waiting) >= limit:
            self._drops["word to the driver"] += 1
        else:
            self._waiting.append(message)

    def _say_waiting(self) -> bool:
        """Whether nothing is left."""
        while self._waiting and self._is_sent(self._waiting[0]):
            self._waiting.popleft()
        return not self._waiting

    def _is_sent(self, message: Control) -> bool:
        try:
            self.control.send_multipart(encoded(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def heard(self) -> list[Control]:
        return [message for (message,) in received(self.control, 1, self.offences)]

    def is_new(self) -> bool:
        """Whether the connection was broken since this was asked last."""
        was_broken = self._was_broken.is_set()
        self._was_broken.clear()
        return was_broken

    def take_beats(self) -> None:
        for (message,) in received(self.beats, 1, self.offences):
            if isinstance(message, Beat) and message.incarnation == self._config.incarnation:
                self._lease.heard(time.monotonic())

    def on_lifeline(self) -> bool:
        """It can be read. Whether it has ended."""
        if not self._is_local:
            with contextlib.suppress(OSError):
                if os.read(self.lifeline, 4096):
                    return False
            self._lease.broken()
        return True

    def mend(self, holder: int) -> bool:
        """The lifeline is that process now. False if it has ended, or is the lifeline already; what
        was the lifeline is closed."""
        if self._is_local or holder == self._holder:
            return False
        try:
            pidfd = os.pidfd_open(holder)
        except OSError:
            return False
        if self._holder:  # standard input stays open: its number is not to become another's
            os.close(self.lifeline)
        self.lifeline, self._holder = pidfd, holder
        self._lease.mended()
        return True

    @property
    def is_lost_with_lifeline(self) -> bool:
        return self._is_local

    def tick(self) -> bool:
        """Say what waits, and in its time that we live. Whether the driver is gone for good."""
        self._say_waiting()
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + BEAT_S
            config = self._config
            beat = Beat(
                config.host,
                config.incarnation,
                round(psutil.cpu_percent() / 100, 3),
                round(psutil.virtual_memory().percent / 100, 3),
            )
            with contextlib.suppress(zmq.Again):
                self.beats.send(encode_control(beat), zmq.NOBLOCK)
        return self._lease.is_over(now)

    def close(self) -> None:
        if self._keeper is not None:
            for socket in (self.control, self.beats):
                sockets.end_monitor(socket)
        self.beats.close(linger=0)
        self.control.close(linger=500)
        if self._keeper is not None:
            self._keeper.close()


def watch_parent(driver_pid: int) -> int:
    """A descriptor that can be read when the driver has ended. Raises RuntimeError if it has."""
    pidfd = os.pidfd_open(driver_pid)
    if os.getppid() != driver_pid:  # it ended before, and the number may be another's
        raise RuntimeError("the driver has ended before its agent was up")
    return pidfd
