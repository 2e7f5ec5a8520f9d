"""Playing whole episodes with a policy that does not learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from actorrl.data.fragment import Episode
from actorrl.envs.vector import VectorEnv
from actorrl.rollouts.collector import ActingPolicy, Collector
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
        self._collector = collector
        self.played: list[Episode] = []

    @property
    def done(self) -> bool:
        return not self._share.any()

    def advance(self) -> None:
        for episode in self._collector.collect().episodes:
            if self._share[episode.env_index]:
                self._share[episode.env_index] -= 1
                self.played.append(episode)


def play(env: VectorEnv, policy: ActingPolicy, episodes: int, explore: bool) -> list[Episode]:
    """All of `Playing` at once."""
    return play_on(Collector(env, policy, ROWS, explore=explore), env.num_envs, episodes)


def play_on(collector: AnyCollector, num_envs: int, episodes: int) -> list[Episode]:
    """The same with a collector of any kind, whose environments count from 0."""
    playing = Playing(collector, num_envs, episodes)
    while not playing.done:
        playing.advance()
    return playing.played


def summary(played: list[Episode]) -> dict[str, Any]:
    """The contract's keys of an evaluation."""
    returns = [episode.episode_return for episode in played]
    lengths = [episode.length for episode in played]
    return {
        "episodes": len(played),
        "episode_reward_mean": math.fsum(returns) / len(returns),
        "episode_reward_min": min(returns),
        "episode_reward_max": max(returns),
        "episode_len_mean": math.fsum(lengths) / len(lengths),
    }
