"""Playing whole episodes with a policy that does not learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from actorrl.data.fragment import Episode
from actorrl.envs.vector import VectorEnv
from actorrl.rollouts.collector import ActingPolicy, Collector

_ROWS = 50  # of a fragment: how often the count is looked at


class Playing:
    """The first `episodes` episodes, shared out evenly over the environments.

    Each environment plays its own share, whoever is quicker: the first to finish would be the
    short ones. `advance` plays on a little, and raises EnvironmentFailure.
    """

    def __init__(self, env: VectorEnv, policy: ActingPolicy, episodes: int, explore: bool) -> None:
        self._share = np.full(env.num_envs, episodes // env.num_envs)
        self._share[: episodes % env.num_envs] += 1
        self._collector = Collector(env, policy, _ROWS, explore=explore)
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
    playing = Playing(env, policy, episodes, explore)
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
