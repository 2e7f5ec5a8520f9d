"""What an agent sees of its actors without asking them: whether they get on, and their memory."""

from __future__ import annotations

import os
import time

from actorrl.runtime.memory_limits import memory_of
from actorrl.runtime.progress import ProgressTable, Silence, Watch
from actorrl.wire.shared_memory import MemoryServer

_LOOK_S = 0.5
_OOM_S = 10.0  # a kill so soon after the kernel has counted one of its own was that one
_TICKS = os.sysconf("SC_CLK_TCK")


class Vitals:
    """Looked at about twice a second, by the agent's only loop."""

    def __init__(self, memory: MemoryServer) -> None:
        self._table = ProgressTable(memory)
        self._watch = Watch()
        self._pids: dict[str, int] = {}
        self._rss: dict[str, int] = {}
        self._limits: dict[str, int] = {}
        self._oversized: list[tuple[str, int, int]] = []
        self._seconds: dict[str, tuple[float, float]] = {}  # when, and CPU seconds until then
        self._next_look = 0.0
        self._oom_kills = oom_kills()
        self._oom_at = float("-inf")

    def beat_index(self, slot: str) -> int:
        return self._table.index(slot)

    def born(self, slot: str, pid: int, memory_limit: int = 0) -> None:
        self._pids[slot] = pid
        self._limits[slot] = memory_limit

    def ready(self, slot: str, limit_s: float) -> None:
        """From now on it has to get on. Before, its start is bounded by the supervisor."""
        if self._table.index(slot) >= 0:
            self._watch.add(slot, limit_s, self._table.count(slot), time.monotonic())

    def ended(self, slot: str) -> None:
        self._watch.remove(slot)
        self._pids.pop(slot, None)
        self._rss.pop(slot, None)
        self._limits.pop(slot, None)
        self._seconds.pop(slot, None)

    def look(self) -> list[Silence]:
        """Who has been silent for too long; also takes everybody's memory."""
        now = time.monotonic()
        if now < self._next_look:
            return []
        self._next_look = now + _LOOK_S
        self._look_for_oom(now)
        for slot, pid in self._pids.items():
            self._look_at_memory(slot, pid)
        counts = {slot: self._table.count(slot) for slot in self._watch.slots()}
        return self._watch.look(counts, now)

    def _look_at_memory(self, slot: str, pid: int) -> None:
        resident, own = memory_of(pid)
        self._rss[slot] = resident or self._rss.get(slot, 0)
        if own > self._limits[slot] > 0:
            self._oversized.append((slot, own, self._limits[slot]))

    def take_oversized(self) -> list[tuple[str, int, int]]:
        """Who was found to hold more memory of its own than it may since this was asked last: slot,
        bytes, and its limit."""
        found, self._oversized = self._oversized, []
        return [entry for entry in found if entry[0] in self._pids]

    def health(self) -> dict[str, tuple[float, int]]:
        """Actor -> cores used since this was asked last, bytes held."""
        found = {}
        now = time.monotonic()
        for slot, pid in self._pids.items():
            seconds = cpu_seconds(pid)
            since, before = self._seconds.get(slot, (now, seconds))
            self._seconds[slot] = (now, seconds)
            cores = (seconds - before) / (now - since) if now > since else 0.0
            found[slot] = (round(max(0.0, cores), 2), self.rss(slot))
        return found

    def rss(self, slot: str) -> int:
        """Bytes, when last looked at; 0 before."""
        return self._rss.get(slot, 0)

    def out_of_memory(self) -> bool:
        """Whether the kernel has just killed somebody for want of memory."""
        now = time.monotonic()
        self._look_for_oom(now)
        return now - self._oom_at < _OOM_S

    def _look_for_oom(self, now: float) -> None:
        count = oom_kills()
        if count > self._oom_kills:
            self._oom_kills, self._oom_at = count, now


def cpu_seconds(pid: int) -> float:
    """What a process has used so far; 0 once it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    except (OSError, IndexError):
        return 0.0


def oom_kills() -> int:
    """How often the kernel has killed for want of memory, of the machine or of a control group."""
    try:
        with open("/proc/vmstat", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(b"oom_kill ")), 0)
