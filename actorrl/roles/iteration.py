"""The driver's iterations: what it wants of a learner, and what it is told afterwards."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping

from actorrl.data.columns import PRIORITIES
from actorrl.policies.policy_map import SEPARATOR
from actorrl.roles.settings import Body, Metrics
from actorrl.runtime.mailbox import Later

_PER_ROW = (PRIORITIES,)  # what an update may return beside scalars
_MAX_EPISODES = 100_000  # kept for the driver between two of its calls


@dataclasses.dataclass
class Iteration:
    """One call of `train`: how far the learner shall come, and who waits for it."""

    num_updates: int
    timesteps_total: int
    ends_at: float  # not before, on the monotonic clock
    stay: bool  # go on learning after the answer
    later: Later

    def complete(self, tally: Tally) -> bool:
        return (
            tally.num_updates >= self.num_updates
            and tally.timesteps_total >= self.timesteps_total
            and time.monotonic() >= self.ends_at
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
    """What a learner has done: in all, and since the last report. It goes on between iterations;
    `seconds` and `num_dropped_stale` are since the process's start."""

    def __init__(self, note: Callable[[int, int], None]) -> None:
        """`note(num_updates, timesteps_total)` leaves them for a successor."""
        self.num_updates = 0
        self.timesteps_total = 0
        self.num_dropped_stale = 0
        self.seconds: dict[str, float] = collections.defaultdict(float)
        self._note = note
        self._episodes: collections.deque[list[float]] = collections.deque(maxlen=_MAX_EPISODES)
        self._lags = _Sum()  # of the fragments learned from, in updates
        self._largest_lag = 0
        self._metrics: dict[str, _Sum] = collections.defaultdict(_Sum)

    def go_on_from(self, num_updates: int, timesteps_total: int) -> None:
        self.num_updates, self.timesteps_total = num_updates, timesteps_total
        self._note(num_updates, timesteps_total)

    def count_experience(self, num_env_steps: int, episodes: Iterable[list[float]]) -> None:
        """Valid env steps have come, in which these episodes ended."""
        self.go_on_from(self.num_updates, self.timesteps_total + num_env_steps)
        self._episodes.extend(episodes)

    def count_lag(self, lag: int) -> None:
        """Of one fragment."""
        self._lags.add(lag)
        self._largest_lag = max(self._largest_lag, lag)

    def count_update(self, metrics: Mapping[str, float], seconds: float) -> None:
        self.go_on_from(self.num_updates + 1, self.timesteps_total)
        self.seconds["update_s"] += seconds
        for name, number in metrics.items():
            self._metrics[name].add(number)

    def take(self) -> Body:
        """The totals; means of the metrics over the updates, lags, and the episodes that have ended
        since it was called last."""
        taken = {
            "num_updates": self.num_updates,
            "timesteps_total": self.timesteps_total,
            "policy_lag_mean": self._lags.mean,
            "policy_lag_max": self._largest_lag,
            "episodes": list(self._episodes),
            "stats": {name: numbers.mean for name, numbers in self._metrics.items()},
        }
        self._episodes.clear()
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
