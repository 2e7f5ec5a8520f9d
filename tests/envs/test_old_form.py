"""Environments of the old Gym run as they are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np

from actorrl.envs.check import check_env
from actorrl.envs.vector import make_vector


class Discrete(SimpleNamespace):
    """Stands for the old Gym's space, which is no gymnasium.Space."""


class Countdown:
    """Three steps; the last one is cut off by time where `cut`."""

    observation_space = gym.spaces.Box(0.0, 9.0, (1,), np.float32)
    action_space = Discrete(n=2)

    def __init__(self, config: Any) -> None:
        self.cut = bool(config.get("cut"))
        self.seeds: list[int] = []

    def seed(self, seed: int) -> None:
        self.seeds.append(seed)

    def reset(self) -> Any:
        self.left = 3
        return np.array([3.0], np.float32)

    def step(self, action: int) -> Any:
        self.left -= 1
        info = {"TimeLimit.truncated": self.cut}
        return np.array([self.left], np.float32), 1.0, self.left == 0, info


class OldGymnasium(gym.Env):
    observation_space = Countdown.observation_space
    action_space = gym.spaces.Discrete(2)

    def reset(self) -> Any:
        return np.zeros(1, np.float32)

    def step(self, action: int) -> Any:
        return np.zeros(1, np.float32), 1.0, True, {}


def flags(cut: bool) -> tuple[bool, bool]:
    vector = make_vector(Countdown, {"cut": cut}, 1, seed=5)
    assert vector.reset().tolist() == [[3.0]]
    results = [vector.step(np.zeros(1, np.int64)) for _ in range(3)]
    result = results[-1]
    assert vector.envs[0].env.seeds == [5]
    return bool(result.terminateds[0]), bool(result.truncateds[0])


def test_done_terminates_unless_time_cut_the_episode_off() -> None:
    assert flags(cut=False) == (True, False)
    assert flags(cut=True) == (False, True)


def test_the_driver_s_check_says_so_once() -> None:
    for env in (Countdown, OldGymnasium):
        info = check_env(env)
        assert info.action_space == gym.spaces.Discrete(2)
        assert len([notice for notice in info.notices if "old Gym" in notice]) == 1
