"""Which hosts are there. Pure: events in, commands out, time passed in.

A host is *up* while its agent's beats come, *suspect* when they are late (nothing new is placed
there, nothing is ended), *lost* when they stay away or its agent has ended. A lost host cools down,
longer each time, and is started again; one that is lost too often is given up. A gap between two
ticks (a debugger, SIGSTOP, a sleeping laptop) is nobody's silence.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import random

_MAX_DOUBLINGS = 64


class HostState(enum.StrEnum):
    STARTING = "starting"
    UP = "up"
    SUSPECT = "suspect"
    COOLING = "cooling"  # lost, or not started; it is tried again
    GIVEN_UP = "given up"


@dataclasses.dataclass(frozen=True)
class HostPolicy:
    """Times in seconds."""

    suspect_s: float = 4.0
    down_s: float = 10.0  # node_timeout_s
    local_down_s: float = 30.0  # its end is seen at once; silence alone may be a debugger
    prepare_timeout_s: float = 4500.0  # until the agent's process: pip alone may take an hour
    start_timeout_s: float = 60.0  # from the agent's process to its hello
    max_losses: int = 5
    window_s: float = 600.0
    cooldown_s: float = 5.0
    local_cooldown_s: float = 0.5
    cooldown_limit_s: float = 300.0
    jitter: float = 0.2
    gap_s: float = 3.0


@dataclasses.dataclass
class HostSlot:
    name: str
    is_local: bool
    state: HostState = HostState.COOLING
    incarnation: int = 0  # of its agent
    due: float = 0.0  # when a cooling one is started
    begun: float = 0.0  # when it was started last
    heard: float = 0.0
    launched: float | None = None  # when its agent's process was there; None while it is prepared
    was_up: bool = False
    times_lost: int = 0  # after it was up
    error: str | None = None
    losses: collections.deque[float] = dataclasses.field(default_factory=collections.deque)

    @property
    def carries(self) -> bool:
        """Whether actors run there."""
        return self.state in (HostState.UP, HostState.SUSPECT)

    @property
    def may_come(self) -> bool:
        """Whether it is worth waiting for."""
        return self.state in (HostState.STARTING, HostState.COOLING)


@dataclasses.dataclass(frozen=True)
class StartHost:
    name: str
    incarnation: int


@dataclasses.dataclass(frozen=True)
class LoseHost:
    """Fence it: end its agent, hear nothing of it any more, place its actors elsewhere."""

    name: str
    incarnation: int
    reason: str
    was_up: bool


@dataclasses.dataclass(frozen=True)
class HostChanged:
    """For the run's events: suspect, or up again."""

    name: str
    state: HostState


HostCommand = StartHost | LoseHost | HostChanged


class HostTable:
    """See the module. Called by one thread."""

    def __init__(
        self, local: str, others: list[str], policy: HostPolicy | None = None, seed: int = 0
    ) -> None:
        self.policy = policy or HostPolicy()
        self.hosts = {name: HostSlot(name, name == local) for name in [local, *others]}
        self.stopping = False
        self._random = random.Random(seed)
        self._last_tick: float | None = None

    # ---- events -------------------------------------------------------------------------

    def launched(self, name: str, incarnation: int, now: float) -> None:
        """Its agent's process is there."""
        host = self._current(name, incarnation)
        if host is not None and host.state is HostState.STARTING:
            host.launched = now

    def hello(self, name: str, incarnation: int, now: float) -> bool:
        """Its agent can be talked to. Whether that is news."""
        host = self._current(name, incarnation)
        if host is None or host.state is not HostState.STARTING:
            return False
        host.state, host.heard, host.was_up, host.error = HostState.UP, now, True, None
        return True

    def beat(self, name: str, incarnation: int, now: float) -> list[HostCommand]:
        host = self._current(name, incarnation)
        if host is None or not host.carries:
            return []
        host.heard = now
        if host.state is HostState.UP:
            return []
        host.state = HostState.UP
        return [HostChanged(name, HostState.UP)]

    def ended(self, name: str, incarnation: int, reason: str, now: float) -> list[HostCommand]:
        """Its agent has ended, or could not be started."""
        host = self._current(name, incarnation)
        if host is None or not (host.carries or host.state is HostState.STARTING):
            return []
        return self._lose(host, reason, now)

    def tick(self, now: float) -> list[HostCommand]:
        """Time has passed: what is due now."""
        if self._last_tick is not None and now - self._last_tick > self.policy.gap_s:
            self._move_deadlines(now - self._last_tick)
        self._last_tick = now
        if self.stopping:
            return []
        return [command for host in self.hosts.values() for command in self._look(host, now)]

    def stop(self) -> None:
        """Nobody is started or given up any more."""
        self.stopping = True

    # ---- what follows -------------------------------------------------------------------

    def _look(self, host: HostSlot, now: float) -> list[HostCommand]:
        if host.state is HostState.COOLING and host.due <= now:
            host.incarnation += 1
            host.state, host.begun, host.launched = HostState.STARTING, now, None
            return [StartHost(host.name, host.incarnation)]
        if host.state is HostState.STARTING:
            return self._look_at_start(host, now)
        if host.carries:
            return self._look_at_beats(host, now)
        return []

    def _look_at_start(self, host: HostSlot, now: float) -> list[HostCommand]:
        if host.launched is None:
            since, limit, what = host.begun, self.policy.prepare_timeout_s, "was not started"
        else:
            since, limit, what = host.launched, self.policy.start_timeout_s, "said nothing"
        if now - since > limit:
            return self._lose(host, f"its agent {what} within {limit:g} s", now)
        return []

    def _look_at_beats(self, host: HostSlot, now: float) -> list[HostCommand]:
        silence = now - host.heard
        limit = self.policy.local_down_s if host.is_local else self.policy.down_s
        if silence > limit:
            return self._lose(host, f"not heard of for {limit:g} s", now)
        if silence > self.policy.suspect_s and host.state is HostState.UP:
            host.state = HostState.SUSPECT
            return [HostChanged(host.name, HostState.SUSPECT)]
        return []

    def _lose(self, host: HostSlot, reason: str, now: float) -> list[HostCommand]:
        was_up = host.carries
        host.times_lost += was_up
        while host.losses and host.losses[0] < now - self.policy.window_s:
            host.losses.popleft()
        host.losses.append(now)
        host.error = reason
        if len(host.losses) > self.policy.max_losses:
            host.state = HostState.GIVEN_UP
        else:
            host.state, host.due = HostState.COOLING, now + self._cooldown(host)
        return [LoseHost(host.name, host.incarnation, reason, was_up)]

    def _cooldown(self, host: HostSlot) -> float:
        policy = self.policy
        first = policy.local_cooldown_s if host.is_local else policy.cooldown_s
        doublings = min(len(host.losses) - 1, _MAX_DOUBLINGS)
        cooldown = min(policy.cooldown_limit_s, first * 2.0**doublings)
        return cooldown * (1.0 + self._random.uniform(-policy.jitter, policy.jitter))

    def _move_deadlines(self, gap: float) -> None:
        for host in self.hosts.values():
            host.due += gap
            host.begun += gap
            host.heard += gap
            if host.launched is not None:
                host.launched += gap
            host.losses = collections.deque(time + gap for time in host.losses)

    def _current(self, name: str, incarnation: int) -> HostSlot | None:
        host = self.hosts.get(name)
        return host if host is not None and host.incarnation == incarnation else None

    # ---- looking ------------------------------------------------------------------------

    def up(self) -> list[str]:
        """Where actors may be placed."""
        return [host.name for host in self.hosts.values() if host.state is HostState.UP]

    def carrying(self) -> list[str]:
        """Where actors run; of a suspect host they stay."""
        return [host.name for host in self.hosts.values() if host.carries]

    def awaited(self) -> list[str]:
        return [host.name for host in self.hosts.values() if host.may_come]
