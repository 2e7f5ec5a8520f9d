"""The driver's iterations: what it wants of a learner, and what it is told afterwards."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Mapping

from actorrl.data.columns import PRIORITIES
from actorrl.policies.policy_map import SEPARATOR
from actorrl.roles.settings import Body, Metrics
from actorrl.runtime.mailbox import Later

_PER_ROW = (PRIORITIES,)  # what an update may return beside scalars
_MAX_EPISODES = 100_000  # kept for the driver between two of its calls


@dataclasses.dataclass
class Iteration:
    """One call of `train`: what it wants, what has been done for it."""

    min_updates: int
    min_env_steps: int
    min_time_s: float
    stay: bool
    later: Later
    started: float = dataclasses.field(default_factory=time.monotonic)
    num_updates: int = 0
    num_env_steps: int = 0

    def complete(self) -> bool:
        return (
            self.num_updates >= self.min_updates
            and self.num_env_steps >= self.min_env_steps
            and time.monotonic() - self.started >= self.min_time_s
        )


@dataclasses.dataclass(slots=True)
class _Sum:
    """Numbers of which only the mean is wanted: a run may be long without a report."""

    total: float = 0.0
    count: int = 0

    def add(self, number: float) -> None:
        self.total += number
        self.count += 1

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0


class Tally:
    """What has happened since the last report; `seconds` and `num_dropped_stale` since the start.
    It goes on between iterations."""

    def __init__(self) -> None:
        self.episodes: collections.deque[list[float]] = collections.deque(maxlen=_MAX_EPISODES)
        self._lags = _Sum()  # of the fragments learned from, in updates
        self._largest_lag = 0
        self.num_dropped_stale = 0
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self._metrics: dict[str, _Sum] = collections.defaultdict(_Sum)

    def add(self, metrics: Mapping[str, float]) -> None:
        """Of one update."""
        for name, number in metrics.items():
            self._metrics[name].add(number)

    def note_lag(self, lag: int) -> None:
        """Of one fragment."""
        self._lags.add(lag)
        self._largest_lag = max(self._largest_lag, lag)

    def take(self) -> Body:
        """Means of the metrics over the updates, lags, and the episodes that have ended."""
        taken = {
            "policy_lag_mean": self._lags.mean,
            "policy_lag_max": self._largest_lag,
            "episodes": list(self.episodes),
            "stats": {name: numbers.mean for name, numbers in self._metrics.items()},
        }
        self.episodes.clear()
        self._lags, self._largest_lag = _Sum(), 0
        self._metrics.clear()
        return taken


def scalars(metrics: Metrics) -> dict[str, float]:
    """An update's, without what it says of single rows."""
    return {
        name: float(value)
        for name, value in metrics.items()
        if name.rpartition(SEPARATOR)[2] not in _PER_ROW
    }
