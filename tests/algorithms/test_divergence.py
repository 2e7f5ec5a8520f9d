"""A run whose loss is no number any more: the error says at which update, what to do, and from
which checkpoint the run can go on, or that there is none."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.ppo import PPOConfig
from actorrl.cli.failures import show
from actorrl.errors import RunFailed
from tests.policies.custom_models import Plain

BATCH = 64
TOLD = r"loss is (nan|inf) at update \d+: lower lr, or set grad_clip"


class Explodes(gym.Env):
    """Rewards whose square no float32 holds, after some steps."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config: dict) -> None:
        self._good_steps = config["good_steps"]

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self._good_steps -= 1
        reward = 1.0 if self._good_steps >= 0 else 1e30
        return np.zeros(2, np.float32), reward, False, False, {}


class Infinite(Explodes):
    """Observations that are no finite number, which its space allows."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,))

    def reset(self, *, seed=None, options=None):
        return np.full(2, np.inf, np.float32), {}


class SteepAtZero(Plain):
    """Its outputs are numbers, their gradient is none: the root of 0."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.steep = torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_dict, state, seq_lens):
        outputs, state = super().forward(input_dict, state, seq_lens)
        return outputs + self.steep.square().sqrt(), state


def test_a_gradient_that_is_no_number_ends_the_run_before_its_weights_are_published(tmp_path):
    """The first step's: the loss is a number until it has been taken."""
    config = A2CConfig().environment("CartPole-v1").rollouts(num_rollout_workers=0)
    config.training(train_batch_size=BATCH, model={"custom_model": SteepAtZero})
    with config.build(results=tmp_path, name="run") as algo:
        with pytest.raises(RunFailed, match="grad_gnorm is nan at update 1: lower lr"):
            algo.train()
        weights = algo.get_policy().get_weights()
        assert all(np.isfinite(array).all() for array in weights.values())


def test_a_batch_that_holds_infinities_is_named_as_the_cause(tmp_path):
    config = A2CConfig().environment(Infinite, env_config={"good_steps": 1000})
    config.rollouts(num_rollout_workers=0).training(train_batch_size=BATCH)
    with (
        config.build(results=tmp_path) as algo,
        pytest.raises(RunFailed, match=r"at update 1: its batch holds NaN or infinite .*obs"),
    ):
        algo.train()


def algorithm(folder: Path, good_steps: int, num_workers: int = 0):
    config = PPOConfig().environment(Explodes, env_config={"good_steps": good_steps})
    config.rollouts(num_rollout_workers=num_workers, num_envs_per_worker=1)
    config.training(train_batch_size=BATCH, sgd_minibatch_size=BATCH)
    return config.build(results=folder, name="run")


def test_a_run_that_diverges_in_its_first_iteration_says_that_there_is_no_checkpoint(
    tmp_path, capsys
):
    with algorithm(tmp_path, good_steps=0) as algo:
        for _ in range(2):  # the second call ends like the first
            with pytest.raises(RunFailed, match=TOLD) as failed:
                algo.train()
    capsys.readouterr()
    show(failed.value)
    note, error, *_ = capsys.readouterr().err.splitlines()
    assert note.startswith("checkpoint: none, the run ended before its first one")
    assert error.startswith("error: ")
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_run_that_diverges_later_names_the_checkpoint_from_before(tmp_path):
    with algorithm(tmp_path, good_steps=2 * BATCH) as algo:
        algo.train()
        with pytest.raises(RunFailed, match=TOLD) as failed:
            for _ in range(5):
                algo.train()
    (checkpoint,) = (tmp_path / "run" / "recovery").iterdir()
    assert failed.value.__notes__ == [f"checkpoint: {checkpoint}"]


def test_processes_diverge_alike(tmp_path):
    with algorithm(tmp_path, good_steps=0, num_workers=1) as algo:
        with pytest.raises(RunFailed, match=TOLD) as failed:
            algo.train()
        assert failed.value.__notes__[0].startswith("checkpoint: none")
