import gymnasium as gym
import numpy as np
import pytest

from actorrl.envs.check import check_env
from actorrl.errors import ConfigError, EnvironmentFailure
from actorrl.testing.probe_envs import ConstantReward


def test_an_environment_is_described_as_the_policy_sees_it():
    info = check_env("CartPole-v0")
    assert info.env == info.name == "CartPole-v1"
    assert info.reward_threshold == 475.0
    assert info.max_episode_steps == 500
    assert info.frame_stack == 1
    assert info.action_space == gym.spaces.Discrete(2)
    assert info.notices == ["'CartPole-v0' runs as its successor 'CartPole-v1'"]


def test_a_raw_space_is_kept_beside_the_preprocessed_one():
    info = check_env("FrozenLake-v1")
    assert info.raw_observation_space == gym.spaces.Discrete(16)
    assert info.observation_space.shape == (16,)
    assert info.max_episode_steps == 100


def test_atari_says_its_frame_and_stack():
    pytest.importorskip("ale_py")
    info = check_env("ALE/Pong-v5")
    assert info.observation_space == gym.spaces.Box(0, 255, (84, 84), np.uint8)
    assert info.action_space == gym.spaces.Discrete(6)
    assert info.frame_stack == 4
    assert info.max_episode_steps == 27_000
    assert info.reward_threshold is None


def test_a_wrong_setting_of_atari_is_a_line():
    pytest.importorskip("ale_py")
    with pytest.raises(ConfigError) as caught:
        check_env("ALE/Pong-v5", {"frameskp": 3, "noop_max": -1})
    lines = caught.value.messages
    assert lines[0] == "env_config.frameskp: unknown setting, did you mean 'frameskip'?"
    assert lines[1].startswith("env_config.noop_max: ")


ACTIONS = {
    "text": gym.spaces.Tuple((gym.spaces.Text(2),)),
    "sequence": gym.spaces.Sequence(gym.spaces.Discrete(2)),
    "of nothing": gym.spaces.Dict({}),
    "empty": gym.spaces.Tuple((gym.spaces.Box(-1, 1, (0,)),)),
}


class Broken(ConstantReward):
    def __init__(self, config):
        super().__init__()
        self.config = config
        if config.get("space") == "text":
            self.observation_space = gym.spaces.Tuple((gym.spaces.Text(2),))
        if "actions" in config:
            self.action_space = ACTIONS[config["actions"]]

    def reset(self, *, seed=None, options=None):
        obs, info = super().reset(seed=seed)
        obs[1] = self.config.get("value", 0.0)
        return obs, info

    def step(self, action):
        if self.config.get("raise"):
            raise RuntimeError("boom")
        obs, _, *rest = super().step(action)
        return obs, self.config.get("reward", 1.0), *rest


@pytest.mark.parametrize(
    ("env_config", "reason"),
    [
        ({"raise": True}, "environment 0 failed in step: RuntimeError: boom"),
        ({"value": 7.0}, r"element \[1\] is 7.0, allowed are -1.0 to 1.0"),
        ({"value": float("nan")}, r"element \[1\] is nan"),
        ({"space": "text"}, r"observations of the space Text\(.*\) are not supported"),
        ({"actions": "text"}, r"actions of the space Tuple\(Text\(.*\) are not supported"),
        ({"actions": "sequence"}, r"actions of the space Sequence\(.*\) are not supported"),
        ({"actions": "of nothing"}, r"actions of the space Dict\(\) are not supported"),
        ({"actions": "empty"}, r"actions of the space Tuple\(Box\(.*\) are not supported"),
        (
            {"reward": float("nan")},
            "^'Broken', tried out before the run: .* the reward nan, expected",
        ),
        ({"reward": None}, "failed in step: .* the reward None, expected a finite number"),
    ],
)
def test_a_broken_environment_is_found_before_anything_starts(env_config, reason):
    with pytest.raises(EnvironmentFailure, match=reason) as caught:
        check_env(Broken, env_config)
    assert caught.value.exit_code == 2


def test_a_class_that_works_passes():
    info = check_env(Broken)
    assert info.env is Broken
    assert info.name == "Broken"
    assert info.max_episode_steps is None


class Strict(gym.Env):
    """Allows one action at a time, and raises at all others."""

    def __init__(self, config):
        self.action_space = config["actions"]
        size = getattr(self.action_space, "n", None) or int(self.action_space.nvec.sum())
        self.observation_space = gym.spaces.Dict(
            action_mask=gym.spaces.MultiBinary(int(size)), observations=gym.spaces.Discrete(2)
        )
        self.mask = np.array(config["mask"], np.int8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"action_mask": self.mask, "observations": 1}, {}

    def step(self, action):
        if np.ravel(action).tolist() != [1] * np.size(action):
            raise RuntimeError("forbidden")
        return {"action_mask": self.mask, "observations": 0}, 0.0, False, False, {}


@pytest.mark.parametrize(
    ("actions", "mask"),
    [
        (gym.spaces.Discrete(9), [0, 1, 0, 0, 0, 0, 0, 0, 0]),
        (gym.spaces.MultiDiscrete([4, 3]), [0, 1, 0, 0, 0, 1, 0]),
    ],
)
def test_the_check_takes_an_action_that_the_mask_allows(actions, mask):
    info = check_env(Strict, {"actions": actions, "mask": mask})
    assert info.observation_space.mask_size == len(mask)
