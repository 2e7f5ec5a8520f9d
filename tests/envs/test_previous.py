"""Observations that say what was done last and what it brought."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from actorrl.algorithms.ppo import PPOConfig
from actorrl.algorithms.restoring import checked
from actorrl.envs.previous import WithPrevious, nothing_done
from actorrl.envs.registry import EnvContext
from actorrl.errors import ConfigError
from actorrl.testing.probe_envs import CountingEnv, reward_of


def test_an_observation_has_the_last_action_and_its_reward() -> None:
    env = WithPrevious(CountingEnv, action=True, reward=True)(EnvContext({"lengths": [3]}))
    obs, _ = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    assert (obs["prev_action"], obs["prev_reward"]) == (0, 0.0)
    obs = env.step(2)[0]
    assert env.observation_space.contains(obs)
    assert (obs["obs"][2], obs["prev_action"]) == (1, 2)
    assert obs["prev_reward"] == np.float32(reward_of(0, 0, 1))
    assert env.reset()[0]["prev_action"] == 0, "an episode begins with nothing done"


def test_actions_that_nobody_clips_have_no_bounds() -> None:
    box = spaces.Box(-1, 2, (2,), np.int64)
    for space in (box, spaces.Dict({"a": spaces.Tuple((spaces.Discrete(2), box))})):
        raw = WithPrevious(CountingEnv, action=True, reward=False, clipped=False)
        seen = raw.space(spaces.Discrete(2), space)["prev_action"]
        told = seen if space is box else seen["a"][1]
        assert told.shape == (2,) and told.contains(np.array([-9.5, 9.5], np.float32))
        assert space is box or seen["a"][0] == spaces.Discrete(2)
    for settings, bounded in (({}, True), ({"normalize_actions": False}, False)):
        config = PPOConfig().environment("Pendulum-v1")
        config.training(model={"use_lstm": True, "lstm_use_prev_action": True}, **settings)
        told = checked(config).raw_observation_space["prev_action"]
        assert told.is_bounded() == bounded


def test_only_what_was_asked_for_is_told() -> None:
    env = WithPrevious(CountingEnv, action=False, reward=True)(EnvContext())
    assert set(env.reset(seed=0)[0]) == {"obs", "prev_reward"} == set(env.observation_space)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=2),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(2),
        spaces.Box(1.0, 2.0, (2,), np.float32),
        spaces.Dict({"a": spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (1,), np.float32)))}),
    ],
    ids=str,
)
def test_what_stands_for_no_action_is_one_of_the_space(space: gym.Space[Any]) -> None:
    assert space.contains(nothing_done(space))


def test_ataris_frames_are_refused() -> None:
    pytest.importorskip("ale_py")
    with pytest.raises(ConfigError, match="not with Atari"):
        WithPrevious("ALE/Pong-v5", action=True, reward=False)


class OldGym:
    """The old Gym's form, paid by an array."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self) -> Any:
        return np.zeros(1, np.float32)

    def step(self, action: int) -> Any:
        return np.ones(1, np.float32), np.array([0.5]), False, {}


def test_environments_of_the_old_gym_say_it_too() -> None:
    env = WithPrevious(OldGym, action=True, reward=True)(EnvContext({}))
    assert env.observation_space.contains(env.reset(seed=0)[0])
    obs = env.step(1)[0]
    assert env.observation_space.contains(obs)
    assert (obs["prev_action"], obs["prev_reward"]) == (1, 0.5)
