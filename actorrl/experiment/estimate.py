"""How far a run is from its stop criteria, and how long it may still take. No clock in here."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from actorrl.experiment.stop import StopCriteria, lookup

WINDOW_S = 120.0
"""The pace is that of the last two minutes: training speeds up and slows down."""


class Goal(NamedTuple):
    """Where one stop criterion stands."""

    key: str
    value: float
    target: float
    fraction: float
    """Of the way, 0 to 1."""
    left_s: float | None
    """Seconds at the present pace, None while there is no pace toward the target."""


class Estimator:
    """Follows the values of all stop criteria and tells which of them is nearest.

    The way to a positive target begins at 0, that to any other at the lowest value seen; rewards
    below 0 move its beginning down in either case.
    """

    def __init__(self, stop: StopCriteria) -> None:
        self._stop = stop
        self._start: dict[str, float] = {}
        self._seen: dict[str, deque[tuple[float, float]]] = {key: deque() for key in stop.targets}

    def add(self, now: float, result: Mapping[str, Any]) -> None:
        """Take note of a result row that came at `now`, in seconds of a monotonic clock."""
        for key, seen in self._seen.items():
            value = lookup(result, key)
            if value is None:
                continue
            self._start[key] = min(self._start.get(key, value), value)
            if self._stop.targets[key] > 0:
                self._start[key] = min(self._start[key], 0.0)
            seen.append((now, value))
            while len(seen) > 2 and seen[1][0] <= now - WINDOW_S:
                seen.popleft()

    def nearest(self) -> Goal | None:
        """The criterion with the least time left; without any pace, the one farthest on its way."""
        goals = [self._goal(key) for key, seen in self._seen.items() if seen]
        timed = [goal for goal in goals if goal.left_s is not None]
        if timed:
            return min(timed, key=lambda goal: goal.left_s or 0.0)
        return max(goals, key=lambda goal: goal.fraction, default=None)

    def _goal(self, key: str) -> Goal:
        target, start, seen = self._stop.targets[key], self._start[key], self._seen[key]
        (first_time, first), (last_time, value) = seen[0], seen[-1]
        if value >= target:
            return Goal(key, value, target, 1.0, 0.0)
        fraction = max(0.0, (value - start) / (target - start))
        climbed, elapsed = value - first, last_time - first_time
        left_s = (target - value) * elapsed / climbed if climbed > 0 and elapsed > 0 else None
        return Goal(key, value, target, fraction, left_s)
