"""Playing whole episodes with a policy that does not learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from actorrl.data import columns as c
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.fragment import Episode
from actorrl.rollouts.collector import Collector
from actorrl.rollouts.episodes import custom_metrics, policy_means
from actorrl.rollouts.multi_agent import MultiAgentCollector

ROWS = 50  # of a fragment: how often the count is looked at

AnyCollector = Collector | MultiAgentCollector


class Playing:
    """The first `episodes` episodes, shared out evenly over the environments.

    Each environment plays its own share, whoever is quicker: the first to finish would be the
    short ones. `advance` plays on a little, and raises EnvironmentFailure.
    """

    def __init__(self, collector: AnyCollector, num_envs: int, episodes: int) -> None:
        self._share = np.full(num_envs, episodes // num_envs)
        self._share[: episodes % num_envs] += 1
        self._round = self._share.copy()
        self._collector = collector
        self.played: list[Episode] = []

    @property
    def done(self) -> bool:
        return not self._share.any()

    def again(self) -> None:
        """As many more."""
        self._share[:] = self._round

    def advance(self) -> None:
        for episode in self._collector.collect().episodes:
            if self._share[episode.env_index]:
                self._share[episode.env_index] -= 1
                self.played.append(episode)


def play_on(collector: AnyCollector, num_envs: int, episodes: int) -> list[Episode]:
    """All of `Playing` at once, with a collector whose environments count from 0."""
    playing = Playing(collector, num_envs, episodes)
    while not playing.done:
        playing.advance()
    return playing.played


class PlayingOn:
    """One environment's episodes, one after the other, until there are so many of them or of its
    env steps, whichever is first: the last one may be cut short then, and counts as it is. The
    collector's rows are single ones."""

    def __init__(
        self, collector: AnyCollector, num_steps: int | None, num_episodes: int | None = None
    ) -> None:
        assert collector.fragment_length == 1
        self._collector = collector
        self._round = math.inf if num_steps is None else num_steps
        self._most = math.inf if num_episodes is None else num_episodes
        self._steps_left = self._round
        self._return, self._length = 0.0, 0  # of the episode under way
        self.played: list[Episode] = []

    @property
    def done(self) -> bool:
        return self._steps_left <= 0 or len(self.played) >= self._most

    def again(self) -> None:
        """As many steps more, of a new episode."""
        self._steps_left = self._round

    def advance(self) -> None:
        for _ in range(ROWS):
            if self.done:
                return
            self._step()

    def _step(self) -> None:
        fragment = self._collector.collect()
        self._steps_left -= fragment.num_env_steps
        self._length += fragment.num_env_steps
        for group in fragment.groups.values():
            self._return += float(group[c.REWARDS][group[c.VALID]].sum())
        for episode in fragment.episodes:
            self._end(episode)
        if self._steps_left <= 0 and self._length:
            self._end(Episode(0, self._return, self._length))

    def _end(self, episode: Episode) -> None:
        self.played.append(episode)
        self._return, self._length = 0.0, 0


def roll_out(
    collector: AnyCollector, num_episodes: int | None, num_steps: int | None
) -> list[Episode]:
    """All of `PlayingOn` at once."""
    playing = PlayingOn(collector, num_steps, num_episodes)
    while not playing.done:
        playing.advance()
    return playing.played


def summary(played: list[Episode]) -> dict[str, Any]:
    """The contract's keys of an evaluation."""
    lengths = [episode.length for episode in played]
    returns = [episode.episode_return for episode in played]
    mean = math.fsum(returns) / len(returns)
    return {
        "episodes": len(returns),
        "episode_reward_mean": mean,
        "episode_reward_min": min(returns),
        "episode_reward_max": max(returns),
        "episode_len_mean": math.fsum(lengths) / len(lengths),
        "policy_reward_mean": policy_means(played) or {DEFAULT_POLICY: mean},
        "custom_metrics": custom_metrics(played),
    }
