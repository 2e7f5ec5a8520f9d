from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actorrl.algorithms.envs_measured import Measured
from actorrl.algorithms.impala import IMPALAConfig
from actorrl.algorithms.ppo import PPOConfig
from actorrl.errors import ConfigError


class Idle(gym.Env[Any, Any]):
    """Costs nothing: what a round of it costs is the policy's forward, whatever the number."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config: Any = None) -> None:
        pass

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(2, np.float32), 0.0, False, False, {}


def test_the_fewest_that_come_close_to_the_fastest_are_taken():
    assert Measured({1: 100.0, 2: 190.0, 4: 380.0, 8: 400.0, 16: 390.0}).chosen == 4
    assert Measured({1: 50.0, 2: 50.0}).chosen == 1
    assert "4: 380" in str(Measured({1: 100.0, 4: 380.0}))


def test_a_run_says_what_it_has_measured_and_takes_it(tmp_path):
    config = IMPALAConfig().environment(Idle)
    config.rollouts(num_rollout_workers=0, num_envs_per_worker="auto")
    with config.build(results=tmp_path) as run:
        number = run.config.num_envs_per_worker
        assert isinstance(number, int) and number > 1
        assert any(f"num_envs_per_worker: {number} (auto" in notice for notice in run.notices)
        assert run.train()["timesteps_total"] > 0
    assert config.num_envs_per_worker == "auto"


def test_a_fragment_stays_within_two_train_batches(tmp_path):
    config = IMPALAConfig().environment(Idle).training(train_batch_size=64)
    config.rollouts(num_rollout_workers=0, num_envs_per_worker="auto", rollout_fragment_length=32)
    with config.build(results=tmp_path) as run:
        assert run.config.num_envs_per_worker <= 4


def test_a_seed_that_rows_repeat_with_wants_a_number():
    config = PPOConfig().environment("CartPole-v1").debugging(seed=1)
    config.rollouts(num_envs_per_worker="auto")
    with pytest.raises(ConfigError, match="auto is measured and may differ"):
        config.build()
