"""`export_policy_checkpoint` and `Policy.from_checkpoint`: a policy leaves a run, and comes back
without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actorrl import Policy, make_multi_agent
from actorrl.algorithms.dqn import DQN, DQNConfig
from actorrl.algorithms.playing import loaded
from actorrl.algorithms.ppo import PPOConfig
from actorrl.errors import CheckpointError, ConfigError
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.testing.probe_envs import CountingEnv


def small(config: Any) -> Any:
    return config.rollouts(num_workers=0, num_envs_per_worker=2, rollout_fragment_length=10)


def test_a_policy_comes_back_with_its_filter_and_needs_no_environment(tmp_path: Path) -> None:
    class Hidden(CountingEnv):
        """Found under no import path."""

    config = small(DQNConfig()).environment(Hidden).reporting(min_time_s_per_iteration=0)
    config.training(observation_filter="MeanStdFilter", learning_starts=20)
    obs = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32) * 5
    with config.build(results=tmp_path, name="run") as algo:
        algo.train()
        path = algo.export_policy_checkpoint(tmp_path / "policy")
        wanted = algo.get_policy().compute_q_values(obs)
        with pytest.raises(KeyError, match="no policy 'b'"):
            algo.export_policy_checkpoint(tmp_path / "other", "b")
    policy = Policy.from_checkpoint(path)
    np.testing.assert_array_equal(policy.compute_q_values(obs), wanted)
    assert policy.get_weights()["filter.mean"].any()
    for load in (DQN.from_checkpoint, loaded):
        with pytest.raises(CheckpointError, match=r"a policy alone, which Policy.from_checkpoint"):
            load(path)


class Heuristic(Policy):
    def compute_actions(self, obs_batch: Any, *_: Any, **__: Any) -> Any:
        return np.zeros(len(obs_batch), np.int64), [], {}


def test_one_of_several_policies_comes_back_with_its_own_settings(tmp_path: Path) -> None:
    config = small(PPOConfig()).environment(make_multi_agent(CountingEnv))
    config.environment(env_config={"num_agents": 3})
    config.multi_agent(
        policies={
            "a": None,
            "b": (None, None, None, {"model": {"fcnet_hiddens": [7]}, "explore": False}),
            "c": (Heuristic, None, None, {}),
        },
        policy_mapping_fn=lambda agent, **_: "abc"[int(agent)],
    )
    obs = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    with config.build(results=tmp_path, name="run") as algo:
        path = algo.export_policy_checkpoint(str(tmp_path / "b"), policy_id="b")
        wanted = algo.get_policy("b").act(obs).extras["action_dist_inputs"]
        with pytest.raises(ConfigError, match="'c' is a Heuristic, expected a policy of the run's"):
            algo.export_policy_checkpoint(tmp_path / "c", "c")
    policy = Policy.from_checkpoint(path)
    assert isinstance(policy, ActorCriticPolicy)
    assert policy.model_config.fcnet_hiddens == [7] and not policy.explore
    np.testing.assert_array_equal(policy.act(obs).extras["action_dist_inputs"], wanted)
