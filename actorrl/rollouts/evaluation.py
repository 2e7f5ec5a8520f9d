"""Playing whole episodes with a policy that does not learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from actorrl.data import columns as c
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


def play(env: VectorEnv, policy: ActingPolicy, episodes: int, explore: bool) -> list[Episode]:
    """All of `Playing` at once."""
    return play_on(Collector(env, policy, ROWS, explore=explore), env.num_envs, episodes)


def play_on(collector: AnyCollector, num_envs: int, episodes: int) -> list[Episode]:
    """The same with a collector of any kind, whose environments count from 0."""
    playing = Playing(collector, num_envs, episodes)
    while not playing.done:
        playing.advance()
    return playing.played


def roll_out(collector: AnyCollector, num_episodes: int, num_steps: int | None) -> list[float]:
    """The rewards of the first episodes of a collector of single rows, over one environment, until
    there are so many episodes or env steps: the last may be cut short then."""
    assert collector.fragment_length == 1
    rewards: list[float] = []
    running, steps = 0.0, 0
    while len(rewards) < num_episodes and (num_steps is None or steps < num_steps):
        fragment = collector.collect()
        steps += fragment.num_env_steps
        running += sum(float(g[c.REWARDS][g[c.VALID]].sum()) for g in fragment.groups.values())
        if fragment.episodes:
            rewards.append(fragment.episodes[0].episode_return)
            running = 0.0
    if len(rewards) < num_episodes:
        rewards.append(running)
    return rewards


def summary(played: list[Episode]) -> dict[str, Any]:
    """The contract's keys of an evaluation."""
    lengths = [episode.length for episode in played]
    return {
        **reward_summary([episode.episode_return for episode in played]),
        "episode_len_mean": math.fsum(lengths) / len(lengths),
    }


def reward_summary(returns: list[float]) -> dict[str, Any]:
    return {
        "episodes": len(returns),
        "episode_reward_mean": math.fsum(returns) / len(returns),
        "episode_reward_min": min(returns),
        "episode_reward_max": max(returns),
    }
