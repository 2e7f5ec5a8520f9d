"""Plays one episode with each of many variants of a policy, B of them at once.

B environments, n candidates, P parameters of a network, O elements of an observation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np

from actorrl.envs.filters import RunningStat
from actorrl.envs.vector import VectorEnv


class Variants(Protocol):
    """What is needed of the policy."""

    @property
    def parameters(self) -> np.ndarray: ...
    def act_with(self, parameters: np.ndarray, obs: np.ndarray, /) -> np.ndarray: ...
    def explored(self, actions: np.ndarray, rows: np.ndarray, /) -> np.ndarray: ...
    def env_actions(self, actions: np.ndarray, /) -> np.ndarray: ...


class Played(NamedTuple):
    returns: np.ndarray  # [n] float64, unclipped
    lengths: np.ndarray  # [n] int64, env steps
    observed: RunningStat  # [O], of all observations that were acted on


class Population:
    """An environment takes the next candidate when its episode has ended. Those that end last run
    on without being counted until the last one has ended."""

    def __init__(self, env: VectorEnv, policy: Variants) -> None:
        self._env = env
        self._policy = policy
        self.num_steps_total = 0
        self.timers = {"env_s": 0.0, "policy_s": 0.0, "total_s": 0.0}

    def play(
        self, candidate: Callable[[int], np.ndarray], count: int, seed: int, num_plain: int = 0
    ) -> Played:
        """`candidate(i)` gives the parameters [P] of number i; all episodes start anew, from
        `seed`. The first `num_plain` do not explore. Raises EnvironmentFailure."""
        started = perf_counter()
        env, policy = self._env, self._policy
        returns, lengths = np.zeros(count), np.zeros(count, np.int64)
        observed = RunningStat((math.prod(env.observation_space.shape),))
        playing = np.arange(env.num_envs)  # number of the candidate in each environment
        parameters = np.stack([candidate(min(i, count - 1)) for i in range(env.num_envs)])
        resetting = np.zeros(env.num_envs, np.bool_)  # the next step only resets (NEXT_STEP)
        following = env.num_envs
        obs = env.reset(seed)
        while (playing < count).any():
            counted = (playing < count) & ~resetting
            observed.add(obs.reshape(len(obs), -1)[counted])
            before = perf_counter()
            acted = policy.explored(policy.act_with(parameters, obs), playing >= num_plain)
            actions = policy.env_actions(acted)
            between = perf_counter()
            result = env.step(actions)
            self.timers["policy_s"] += between - before
            self.timers["env_s"] += perf_counter() - between
            returns[playing[counted]] += result.rewards[counted]
            lengths[playing[counted]] += 1
            obs = result.obs
            ended = (result.terminateds | result.truncateds) & ~resetting
            for b in np.flatnonzero(ended):
                playing[b], following = following, following + 1
                if playing[b] < count:
                    parameters[b] = candidate(int(playing[b]))
            resetting = ended if env.autoreset == "next_step" else np.zeros_like(ended)
        self.num_steps_total += int(lengths.sum())
        self.timers["total_s"] += perf_counter() - started
        return Played(returns, lengths, observed)
