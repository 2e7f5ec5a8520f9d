"""BaseEnv: environments that are ready at different times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actorrl import BaseEnv, MultiAgentEnv
from actorrl.algorithms.dqn import DQNConfig
from actorrl.algorithms.es import ESConfig
from actorrl.algorithms.ppo import PPOConfig
from actorrl.envs.base_env import BaseEnvVector
from actorrl.errors import ConfigError, EnvironmentFailure


class Unhurried(BaseEnv):
    """Three counters to 6 of one agent each; environment i answers after i more polls. Action 1
    pays. A reset is told by the poll after it, or at once where `prompt`."""

    observation_space = gym.spaces.Box(0, 10, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config: Any = None) -> None:
        self.prompt = bool((config or {}).get("prompt"))
        self.counts = [0, 0, 0]
        self.news: dict[int, tuple[int, float, bool]] = dict.fromkeys(range(3), (0, 0.0, False))

    def poll(self) -> Any:
        ready = {i for i, (wait, _, _) in self.news.items() if wait == 0}
        obs = {i: {"agent0": np.array([self.counts[i]], np.float32)} for i in ready}
        rewards = {i: {"agent0": self.news[i][1]} for i in ready}
        ended = {i: {"__all__": self.news[i][2]} for i in ready}
        waiting = self.news.items()
        self.news = {i: (w - 1, r, e) for i, (w, r, e) in waiting if i not in ready}
        return obs, rewards, ended, {}, {i: {} for i in ready}, {}

    def send_actions(self, action_dict: Any) -> None:
        for i, by_agent in action_dict.items():
            assert i not in self.news, "asked before it has answered"
            self.counts[i] += 1
            self.news[i] = (i, float(by_agent["agent0"]), self.counts[i] == 6)

    def try_reset(self, env_id: int) -> Any:
        self.counts[env_id] = 0
        if self.prompt:
            return {env_id: {"agent0": np.zeros(1, np.float32)}}, {env_id: {}}
        self.news[env_id] = (0, 0.0, False)
        return None


@pytest.mark.parametrize("prompt", [True, False])
def test_each_environment_goes_on_in_its_own_time(prompt: bool) -> None:
    vector = BaseEnvVector(Unhurried({"prompt": prompt}))
    assert vector.num_envs == 3
    actions: list[Any] = [None] * 3
    heard: list[list[int]] = [[], [], []]
    for _ in range(60):
        for i, tick in enumerate(vector.advance(actions)):
            if tick is None:
                actions[i] = {}
            else:
                heard[i].append(int(tick.obs["agent0"][0]))
                actions[i] = None if tick.ended else {"agent0": 1}
    for numbers in heard:
        assert numbers[:14] == [0, 1, 2, 3, 4, 5, 6] * 2
    assert len(heard[0]) > len(heard[1]) > len(heard[2]), "a slow one holds nobody up"


def unhurried(config: Any) -> Any:
    config = config.environment(Unhurried).rollouts(num_workers=0, num_envs_per_worker=3)
    return config.debugging(seed=0)


def test_without_policies_one_acts_for_all_and_learns(tmp_path: Path) -> None:
    config = unhurried(PPOConfig()).training(train_batch_size=256, lr=5e-3)
    with config.build(name="run", results=tmp_path) as algo:
        rows = [algo.train() for _ in range(8)]
        assert rows[-1]["episode_len_mean"] == 6
        assert rows[-1]["episode_reward_mean"] > 5.5
        assert algo.compute_single_action(np.array([3.0])) == 1
        assert algo.evaluate(episodes=3)["episode_reward_mean"] == 6


def test_replay_takes_rows_of_a_base_env(tmp_path: Path) -> None:
    config = unhurried(DQNConfig()).training(learning_starts=100, samples_per_insert=4.0)
    with config.build(name="run", results=tmp_path) as algo:
        assert algo.train()["info"]["learner"]["replay_size"] > 900


def test_what_cannot_be_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match="num_envs_per_worker: 2, but this BaseEnv has 3"):
        unhurried(PPOConfig()).rollouts(num_envs_per_worker=2).build()
    with pytest.raises(ConfigError, match="recreate_failed_envs: true with a BaseEnv"):
        unhurried(PPOConfig()).fault_tolerance(recreate_failed_envs=True).build()
    with pytest.raises(ConfigError, match="policies: ES learns one policy of one agent"):
        unhurried(ESConfig()).build()

    class Silent(Unhurried):
        def poll(self) -> Any:
            return {}, {}, {}, {}, {}, {}

    with pytest.raises(EnvironmentFailure, match="or an attribute `num_envs`"):
        BaseEnvVector(Silent())

    class Wrong(Unhurried):
        def poll(self) -> Any:
            return {}

    with pytest.raises(EnvironmentFailure, match="poll\\(\\) must return"):
        BaseEnvVector(Wrong())


class Herd(MultiAgentEnv):
    observation_space = gym.spaces.Discrete(3)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return {"a": 0, "b": 1}, {}

    def step(self, action_dict: Any) -> Any:
        self.t += 1
        rewards = {agent: float(action) for agent, action in action_dict.items()}
        return {"a": 0, "b": 1}, rewards, {"__all__": self.t == 5}, {"__all__": False}, {}


def test_agents_of_a_multi_agent_environment_share_the_default_policy(tmp_path: Path) -> None:
    for env in (Herd, lambda config: Herd()):
        config = PPOConfig().environment(env).rollouts(num_workers=0)
        config.training(train_batch_size=128)
        with config.build(name=f"run of {type(env).__name__}", results=tmp_path) as algo:
            row = algo.train()
            assert set(row["policy_reward_mean"]) == {"default_policy"}
            assert algo.get_policy().get_weights()
