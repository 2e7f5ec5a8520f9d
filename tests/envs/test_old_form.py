"""Environments of the old Gym run as they are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np

from actorrl.envs.check import check_env
from actorrl.envs.old_form import todays
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


class SeededAlone(OldGymnasium):
    """Takes Gymnasium's seed, and returns the observation alone."""

    def __init__(self, config: Any = None) -> None:
        self.seeds: list[int | None] = []

    def reset(self, seed: int | None = None) -> Any:
        self.seeds.append(seed)
        return np.zeros(1, np.float32)


class Latest(OldGymnasium):
    """Of the old Gym's last versions, which knew seed and options already. Its `seed` is a number
    of its own."""

    seed = 5

    def reset(self, *, seed: Any = None, return_info: bool = False, options: Any = None) -> Any:
        return np.zeros(1, np.float32)


def test_the_old_gyms_last_versions_run_too() -> None:
    class Unseeded(Latest):
        def reset(self) -> Any:  # type: ignore[override]
            return np.zeros(1, np.float32)

    for env in (Latest, Unseeded):
        assert any("old Gym" in notice for notice in check_env(env).notices)
        vector = make_vector(env, {}, 1, seed=7)
        assert vector.reset().shape == (1, 1)
        assert vector.step(np.zeros(1, np.int64)).terminateds.all()


class OfToday(SeededAlone):
    """Gymnasium's form in all but the `options`."""

    def reset(self, seed: int | None = None) -> Any:
        self.seeds.append(seed)
        return np.zeros(1, np.float32), {"today": True}

    def step(self, action: int) -> Any:
        return np.zeros(1, np.float32), 1.0, True, False, {}


class Long(SeededAlone):
    def step(self, action: int) -> Any:
        return np.zeros(1, np.float32), 1.0, False, {}


def test_old_environments_work_behind_gymnasiums_wrappers() -> None:
    gym.register("OldAndLong-v0", entry_point=Long, max_episode_steps=4)
    wrapped = (
        "OldAndLong-v0",
        lambda config: gym.wrappers.TimeLimit(Long(), 4),
        lambda config: gym.wrappers.TimeLimit(gym.wrappers.OrderEnforcing(Long()), 4),
    )
    for env in wrapped:
        assert len([n for n in check_env(env).notices if n.startswith("Long speaks")]) == 1
        vector = make_vector(env, {}, 1, seed=7)
        vector.reset()
        ends = [bool(vector.step(np.zeros(1, np.int64)).truncateds[0]) for _ in range(4)]
        assert ends == [False, False, False, True]
        assert vector.envs[0].unwrapped.seeds == [7] == vector.envs[0].get_wrapper_attr("seeds")


def test_what_takes_a_seed_and_returns_the_observation_alone_is_seen_by_what_it_does() -> None:
    assert len(check_env(SeededAlone).notices) == 1
    assert check_env(OfToday).notices == []
    vector = make_vector(OfToday, {}, 1, seed=3)
    vector.reset()
    assert vector.envs[0].seeds == [3], "what the user's environment has is at hand"


def test_an_old_environment_is_drawn_as_it_wants_to_be() -> None:
    class Drawn(SeededAlone):
        render_mode = "rgb_array"

        def render(self, mode: str = "human") -> Any:
            return mode

    assert make_vector(Drawn, {}, 1).envs[0].render() == "rgb_array"


def test_old_spaces_within_spaces_become_todays() -> None:
    inner = Discrete(n=3)
    both = type("Dict", (), {"spaces": {"a": inner, "b": type("Tuple", (), {"spaces": [inner]})()}})
    assert todays(both()) == gym.spaces.Dict(
        {"a": gym.spaces.Discrete(3), "b": gym.spaces.Tuple([gym.spaces.Discrete(3)])}
    )
