"""Who is started, started again, or given up. Pure: events in, commands out, time passed in.

OTP's words: every slot is one_for_one, with a restart kind and an intensity; so has every group,
the slots of one role. A slot that ends waits a growing time before it is started again; too many
restarts of one slot or group, or the same failure three times before it was ever ready, end the run
and show the first cause. A gap between two ticks (a debugger, SIGSTOP, a sleeping laptop) moves
every deadline and ends nobody.
"""

from __future__ import annotations

import collections
import dataclasses
import random
import re
from typing import Any

from actorrl.runtime.host_specs import LOCAL
from actorrl.runtime.program import Restart
from actorrl.runtime.slots import Policy, Slot, SlotState

_MAX_DOUBLINGS = 64  # of the backoff: beyond any limit, and no overflow
_SIZE = re.compile(r"[\d.]+ [MG]iB")  # of two failures that are the same otherwise


@dataclasses.dataclass
class _Group:
    num_slots: int = 0
    recent: collections.deque[float] = dataclasses.field(default_factory=collections.deque)


@dataclasses.dataclass(frozen=True)
class Start:
    name: str
    incarnation: int


@dataclasses.dataclass(frozen=True)
class Kill:
    name: str
    incarnation: int


@dataclasses.dataclass(frozen=True)
class Announce:
    """The table of live peers has changed."""


@dataclasses.dataclass(frozen=True)
class Fail:
    """The run is over; the text is its one root cause."""

    reason: str
    slot: str


Command = Start | Kill | Announce | Fail


class Supervisor:
    """See the module. Called by one thread."""

    def __init__(
        self, restarts: dict[str, Restart], policy: Policy | None = None, seed: int = 0
    ) -> None:
        self.policy = policy or Policy()
        self.slots = {name: Slot(name, restart) for name, restart in restarts.items()}
        self._groups: dict[str, _Group] = {}
        for slot in self.slots.values():
            self._groups.setdefault(slot.group, _Group()).num_slots += 1
        self._random = random.Random(seed)
        self.stopping = False
        self._last_tick: float | None = None

    # ---- events -------------------------------------------------------------------------

    def hello(
        self, name: str, incarnation: int, pid: int, address: str, tcp: str = ""
    ) -> list[Command]:
        """The process is there and can be reached; from other hosts at `tcp`."""
        slot = self._current(name, incarnation)
        if slot is None:
            return []
        slot.pid, slot.address, slot.tcp = pid, address, tcp
        return [Announce()]

    def ready(self, name: str, incarnation: int, now: float) -> list[Command]:
        slot = self._current(name, incarnation)
        if slot is not None:
            slot.state, slot.ever_ready, slot.started = SlotState.READY, True, now
            slot.failures.clear()
        return []

    def silent(self, name: str, incarnation: int, seconds: float, at_limit: bool) -> None:
        """It has made no progress for so long; at its limit the agent has killed it."""
        slot = self._current(name, incarnation)
        if slot is not None and at_limit:
            slot.verdict = f"hung: no progress for {seconds:.0f} s, its stack is in its log"

    def exited(
        self, name: str, incarnation: int, code: int, reason: str, fatal: bool, now: float
    ) -> list[Command]:
        """The process has ended, for whatever reason."""
        slot = self._current(name, incarnation)
        if slot is None:
            return []
        was_ready_s = now - slot.started if slot.state is SlotState.READY else 0.0
        slot.pid, slot.address = None, ""
        reason = slot.verdict or reason
        slot.verdict = None
        is_to_restart = not self.stopping and _wants_restart(slot.restart, code)
        if is_to_restart or (code != 0 and not self.stopping):
            slot.last_error = reason
        if not is_to_restart:
            slot.state = SlotState.STOPPED
            return [Announce()]
        if fatal:
            return self._fail(slot, reason)
        return [Announce(), *self._restart(slot, reason, was_ready_s, now)]

    def tick(self, now: float) -> list[Command]:
        """Time has passed: what is due now."""
        if self._last_tick is not None and now - self._last_tick > self.policy.gap_s:
            self._move_deadlines(now - self._last_tick)
        self._last_tick = now
        commands: list[Command] = []
        if self.stopping:
            return commands
        for slot in self.slots.values():
            if slot.state is SlotState.WAITING and slot.due <= now and slot.host is not None:
                commands += self._start(slot, now)
            elif slot.state is SlotState.STARTING and self._overdue(slot, now):
                commands.append(Kill(slot.name, slot.incarnation))
                limit = self.policy.start_timeout_s
                slot.verdict = f"not ready within {limit:g} s, its `start_timeout_s`"
                slot.started = now  # killed again if even that takes too long
        return commands

    def placed(self, name: str, host: str) -> None:
        """Where a slot is to be started."""
        self.slots[name].host = host

    def host_lost(self, host: str, now: float) -> list[Command]:
        """All actors there have ended, or are not heard any more. They are started again where they
        are placed next; it is not their failure, so it burns no budget."""
        for slot in self.slots.values():
            if slot.host != host or slot.state in (SlotState.STOPPED, SlotState.FAILED):
                continue
            was_started = slot.state is not SlotState.WAITING
            slot.pid, slot.address, slot.host, slot.verdict = None, "", None, None
            if was_started:
                slot.last_error = f"its host {host} was lost"
            if self.stopping or (was_started and slot.restart is Restart.TEMPORARY):
                slot.state = SlotState.STOPPED
            elif was_started:
                slot.restarts += 1
                slot.state, slot.due = SlotState.WAITING, now
        return [Announce()]

    def homeless(self) -> list[str]:
        """Slots that wait for a place."""
        return [
            slot.name
            for slot in self.slots.values()
            if slot.host is None and slot.state is SlotState.WAITING
        ]

    def all_lost(self) -> None:
        """The run is over, and all actors with it."""
        self.stopping = True
        for slot in self.slots.values():
            slot.pid, slot.address = None, ""
            if slot.state is not SlotState.FAILED:
                slot.state = SlotState.STOPPED

    # ---- what follows -------------------------------------------------------------------

    def _start(self, slot: Slot, now: float) -> list[Command]:
        slot.incarnation += 1
        slot.state, slot.started = SlotState.STARTING, now
        return [Start(slot.name, slot.incarnation)]

    def _restart(self, slot: Slot, reason: str, was_ready_s: float, now: float) -> list[Command]:
        policy = self.policy
        if not slot.ever_ready:
            slot.failures.append(_SIZE.sub("", reason))
            if slot.failures.count(slot.failures[-1]) >= policy.same_failure_limit:
                return self._fail(slot, f"{slot.name} failed {len(slot.failures)} times: {reason}")
        if was_ready_s > policy.healthy_s:
            slot.recent.clear()
        _expire(slot.recent, now - policy.window_s)
        if len(slot.recent) >= policy.max_restarts:
            return self._fail(
                slot,
                f"{slot.name} ended {len(slot.recent) + 1} times within {policy.window_s:g} s:"
                f" {reason}",
            )
        group = self._groups[slot.group]
        _expire(group.recent, now - policy.group_window_s)
        allowed = max(policy.group_restarts, policy.group_restarts_per_slot * group.num_slots)
        if len(group.recent) >= allowed:
            return self._fail(
                slot,
                f"{slot.group}: {len(group.recent) + 1} ends within {policy.group_window_s:g} s,"
                f" the last of {slot.name}: {reason}",
            )
        backoff = self._backoff(len(slot.recent))
        slot.recent.append(now)
        group.recent.append(now)
        slot.restarts += 1
        slot.state, slot.due = SlotState.WAITING, now + backoff
        return []

    def _backoff(self, num_recent: int) -> float:
        policy = self.policy
        doublings = min(num_recent, _MAX_DOUBLINGS)
        backoff = min(policy.backoff_limit_s, policy.backoff_s * 2.0**doublings)
        return backoff * (1.0 + self._random.uniform(-policy.jitter, policy.jitter))

    def give_up(self, name: str, reason: str) -> list[Command]:
        """No host is left for a slot."""
        return self._fail(self.slots[name], reason)

    def _fail(self, slot: Slot, reason: str) -> list[Command]:
        slot.state = SlotState.FAILED
        self.stopping = True
        return [Fail(reason, slot.name)]

    def _overdue(self, slot: Slot, now: float) -> bool:
        return now - slot.started > self.policy.start_timeout_s

    def _move_deadlines(self, gap: float) -> None:
        for slot in self.slots.values():
            slot.due += gap
            slot.started += gap
            slot.recent = collections.deque(time + gap for time in slot.recent)
        for group in self._groups.values():
            group.recent = collections.deque(time + gap for time in group.recent)

    def _current(self, name: str, incarnation: int) -> Slot | None:
        """The slot, if that incarnation of it runs."""
        slot = self.slots.get(name)
        if slot is None or slot.incarnation != incarnation:
            return None
        return slot if slot.state in (SlotState.STARTING, SlotState.READY) else None

    def rows(self) -> list[dict[str, Any]]:
        """A row per slot for the run's status; one that waits for a place is shown as local."""
        return [
            {
                "name": slot.name,
                "role": slot.group,
                "host": slot.host or LOCAL,
                "pid": slot.pid,
                "state": str(slot.state),
                "incarnation": slot.incarnation,
                "restarts": slot.restarts,
                "last_error": slot.last_error,
            }
            for slot in self.slots.values()
        ]

    @property
    def all_ready(self) -> bool:
        """Every slot is up, or has ended and is not to be started again."""
        settled = (SlotState.READY, SlotState.STOPPED)
        return all(slot.state in settled for slot in self.slots.values())


def _expire(times: collections.deque[float], oldest: float) -> None:
    while times and times[0] < oldest:
        times.popleft()


def _wants_restart(restart: Restart, code: int) -> bool:
    return restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and code != 0)
