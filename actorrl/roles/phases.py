"""What a process spends its CPU seconds on, all of them, at two system calls a fragment."""

from __future__ import annotations

import collections
import time
from collections.abc import Mapping


class Phases:
    """`lap(name)` gives everything since the lap before to `name`, so nothing is counted twice or
    left out; what lies between two steps of an actor is `runtime` (messages, credit, timers).

    Inline, where all actors share one process, nothing is counted. One thread's; the seconds are
    those of all threads of the process.
    """

    def __init__(self, inline: bool = False) -> None:
        self._counts = not inline
        self._seconds: dict[str, float] = collections.defaultdict(float)
        self._last = 0.0  # the start of the process: imports count as the first lap's

    def lap(self, name: str) -> None:
        if self._counts:
            now = time.process_time()
            self._seconds[name] += now - self._last
            self._last = now

    def lap_split(self, parts: Mapping[str, float]) -> None:
        """A lap over several phases, in proportion to their seconds of the clock."""
        if self._counts:
            now, total = time.process_time(), sum(parts.values()) or 1.0
            for name, seconds in parts.items():
                self._seconds[name] += (now - self._last) * seconds / total
            self._last = now

    def report(self) -> dict[str, float]:
        """Seconds since the start, as `cpu_NAME_s`."""
        return {f"cpu_{name}_s": seconds for name, seconds in self._seconds.items()}
