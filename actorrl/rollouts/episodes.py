"""Returns and lengths of episodes: summed in the worker, averaged in the driver."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.fragment import Episode


class EpisodeTracker:
    """Sums unclipped rewards and env steps of B environments over fragments, one per worker."""

    def __init__(self, num_envs: int, first_env_index: int = 0) -> None:
        self._first_env_index = first_env_index
        self._returns = np.zeros(num_envs, np.float64)  # of the episodes under way
        self._lengths = np.zeros(num_envs, np.int64)

    def add(
        self,
        rewards: np.ndarray,
        ended: np.ndarray,
        valid: np.ndarray,
        broken: np.ndarray | None = None,
    ) -> list[Episode]:
        """The episodes that ended in these rows, [T, B] each, in order of their ends. One that
        broke at a row (`broken`) has no result."""
        num_rows, num_envs = rewards.shape
        rewards = np.where(valid, rewards, 0.0).astype(np.float64)
        start = np.zeros(num_envs, np.int64)  # first row that is not summed yet
        episodes = []
        ended = ended & valid
        over = ended if broken is None else ended | broken
        for t, b in np.argwhere(over).tolist():
            rows = slice(start[b], t + 1)
            if ended[t, b]:
                episodes.append(
                    Episode(
                        env_index=self._first_env_index + b,
                        episode_return=float(self._returns[b] + rewards[rows, b].sum()),
                        length=int(self._lengths[b] + valid[rows, b].sum()),
                    )
                )
            start[b] = t + 1
            self._returns[b] = 0.0
            self._lengths[b] = 0
        rest = np.arange(num_rows)[:, None] >= start
        self._returns += (rewards * rest).sum(axis=0)
        self._lengths += (valid & rest).sum(axis=0)
        return episodes


class EpisodeWindow:
    """The last `size` finished episodes of a run, for `episode_reward_mean` and its like.

    Short episodes end first, so a mean over the first results would favour them: nothing is
    counted until every environment (that `env_filter` lets through) has its first result. So that
    an environment that never ends an episode cannot hold back the result for ever, the wait is
    over as well once max(size, 4 x environments) episodes wait. The driver owns the one window.
    """

    def __init__(
        self,
        num_envs_total: int,
        size: int = 100,
        env_filter: Callable[[int], bool] | None = None,
        policies: Iterable[str] = (DEFAULT_POLICY,),
    ) -> None:
        """`policies` are named before the first episode, too."""
        self._policies = tuple(policies)
        self._wanted = frozenset(
            i for i in range(num_envs_total) if env_filter is None or env_filter(i)
        )
        self._patience = max(size, 4 * len(self._wanted))
        self._window: deque[Episode] = deque(maxlen=size)
        self._unfiltered: deque[float] = deque(maxlen=size)  # returns, whoever played
        self._waiting: list[Episode] | None = []  # None once every environment has a result
        self._total = 0

    def add(self, episodes: Iterable[Episode]) -> None:
        for episode in episodes:
            self._total += 1
            self._unfiltered.append(episode.episode_return)
            if episode.env_index not in self._wanted:
                continue
            if self._waiting is None:
                self._window.append(episode)
            else:
                self._waiting.append(episode)
        self._stop_waiting_if_complete()

    def summary(self) -> dict[str, Any]:
        """Result keys. NaN before the first counted episode; `episodes_total` counts all."""
        returns = [e.episode_return for e in self._window]
        lengths = [e.length for e in self._window]
        return {
            "episode_reward_mean": _mean(returns),
            "episode_reward_min": min(returns, default=math.nan),
            "episode_reward_max": max(returns, default=math.nan),
            "episode_len_mean": _mean(lengths),
            "episodes_total": self._total,
            "policy_reward_mean": self._policy_means(_mean(returns)),
        }

    def mean_of_all(self) -> float:
        """Mean return of the last episodes of all environments, also of those filtered out."""
        return _mean(list(self._unfiltered))

    def _policy_means(self, of_the_only_one: float) -> dict[str, float]:
        return policy_means(self._window) or dict.fromkeys(self._policies, of_the_only_one)

    def state_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for a checkpoint."""
        waiting = self._waiting
        return {
            "total": self._total,
            "unfiltered": list(self._unfiltered),
            "window": [episode.to_row() for episode in self._window],
            "waiting": None if waiting is None else [episode.to_row() for episode in waiting],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Also into a window over another number of environments: those that left wait no more."""
        self._total = int(state["total"])
        self._unfiltered = deque(
            (float(r) for r in state.get("unfiltered", [])), self._unfiltered.maxlen
        )
        self._window.clear()
        self._window.extend(Episode.from_row(parts) for parts in state["window"])
        waiting = state["waiting"]
        self._waiting = None if waiting is None else [Episode.from_row(p) for p in waiting]
        self._stop_waiting_if_complete()

    def _stop_waiting_if_complete(self) -> None:
        if self._waiting is None:
            return
        seen = {episode.env_index for episode in self._waiting}
        if seen >= self._wanted or len(self._waiting) >= self._patience:
            self._window.extend(self._waiting)
            self._waiting = None


def _mean(values: list[float] | list[int]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def policy_means(episodes: Collection[Episode]) -> dict[str, float]:
    """Mean return of each policy's agents together, over the episodes that it was in; {} where
    there is one agent."""
    names = sorted({name for episode in episodes for name in episode.policy_returns})
    return {
        name: _mean([e.policy_returns[name] for e in episodes if name in e.policy_returns])
        for name in names
    }


def custom_metrics(episodes: Iterable[Episode]) -> dict[str, float]:
    """Mean, least and largest of each metric over the episodes that have it, RLlib's names."""
    values: dict[str, list[float]] = {}
    for episode in episodes:
        for name, value in episode.custom_metrics.items():
            values.setdefault(name, []).append(value)
    spread = {}
    for name, found in sorted(values.items()):
        spread[f"{name}_mean"] = sum(found) / len(found)
        spread[f"{name}_min"], spread[f"{name}_max"] = min(found), max(found)
    return spread
