"""Whole algorithms on environments whose values are known by hand, in this process.

The answers are those of each algorithm's own fixed point, so every test says what that is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from actorrl.algorithms.registry import config_class
from actorrl.testing.probe_envs import Chain, ConstantReward

torch.set_num_threads(1)
ONE_STEP: dict[str, dict[str, Any]] = {
    "A2C": {"lambda_": 0.0},
    "A3C": {"lambda_": 0.0},
    "IMPALA": {"vtrace_lambda": 0.0},
}
# 10 decisions and, under NEXT_STEP, the row after the end: every fragment is a whole episode.
ROWS = {"next_step": 11, "same_step": 10}


def tenth(context: Any) -> gym.Env[Any, Any]:
    """Rewards of .1, so that no TD error is beyond the Huber loss's quadratic part."""
    return gym.wrappers.TransformReward(ConstantReward(**context), lambda reward: reward / 10)


def trained(name: str, env: Any, results: Path, updates: int, **settings: Any) -> Any:
    """A run in this process, for so many updates; its policy."""
    config = config_class(name)().environment(env, env_config=settings.pop("env_config", {}))
    config.rollouts(num_workers=0, num_envs_per_worker=8)
    config.training(min_time_s_per_iteration=0.0, **settings).debugging(seed=3)
    with config.build(results=results, name="probe") as algo:
        num_updates = 0
        while num_updates < updates:
            num_updates = algo.train(stay=True)["num_updates"]
        return algo.get_policy().refresh()


def values_of(policy: Any, obs: np.ndarray) -> np.ndarray:
    """V or max Q of each observation [N, ...]."""
    extras = policy.act(obs.astype(np.float32)).extras
    return extras["vf_preds"] if "vf_preds" in extras else extras["q_values"].max(axis=1)


def value_of_constant(name: str, results: Path, truncate: bool, autoreset: str) -> float:
    rows = ROWS[autoreset]
    policy = trained(
        name,
        ConstantReward,
        results,
        1200,
        env_config={"limit": 10, "truncate": truncate},
        gamma=0.9,
        autoreset=autoreset,
        rollout_fragment_length=rows,
        train_batch_size=8 * 10,
        lr=0.03,
        lr_schedule=[[0, 0.03], [60_000, 0.03], [96_000, 0.001]],
        model={"fcnet_hiddens": []},
        **ONE_STEP[name],
    )
    return float(values_of(policy, np.ones((1, 2)))[0])


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("name", list(ONE_STEP))
def test_a_constant_reward_is_worth_10_where_the_end_is_a_truncation(
    name: str, autoreset: str, tmp_path: Path
) -> None:
    """v = 1 + .9 v."""
    value = value_of_constant(name, tmp_path, True, autoreset)
    assert value == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("name", list(ONE_STEP))
def test_a_constant_reward_is_worth_5_26_where_the_end_is_a_termination(
    name: str, autoreset: str, tmp_path: Path
) -> None:
    """One row in ten has no bootstrap: v = 1 + .9 (9/10) v, with one-step targets."""
    value = value_of_constant(name, tmp_path, False, autoreset)
    assert value == pytest.approx(1 / 0.19, abs=0.1)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize(
    ("truncate", "n_step", "answer"),
    [(True, 1, 1.0), (True, 3, 1.0), (False, 1, 0.1 / 0.19), (False, 3, 0.2458 / 0.4897)],
)
def test_apex_gives_a_constant_reward_its_value(
    truncate: bool, n_step: int, answer: float, autoreset: str, tmp_path: Path
) -> None:
    """Of uniform samples (alpha 0). With 3 steps and termination, of ten rows seven have the target
    .271 + .729 q, and one each .271, .19 and .1: q = .2458 + .5103 q."""
    policy = trained(
        "APEX",
        tenth,
        tmp_path,
        1200,
        env_config={"limit": 10, "truncate": truncate},
        gamma=0.9,
        autoreset=autoreset,
        n_step=n_step,
        prioritized_replay_alpha=0.0,
        samples_per_insert=8.0,
        learning_starts=200,
        train_batch_size=128,
        target_network_update_freq=10,
        lr=0.003,
        model={"fcnet_hiddens": []},
    )
    assert values_of(policy, np.ones((1, 2)))[0] == pytest.approx(answer, abs=0.015)


@pytest.mark.parametrize("name", ["A2C", "A3C", "IMPALA", "APEX"])
def test_a_chain_of_five_has_the_values_one_sixteenth_to_one(name: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"lr": 0.01}
    if name == "APEX":
        settings = {"lr": 0.003, "learning_starts": 200, "target_network_update_freq": 20}
    policy = trained(
        name, Chain, tmp_path, 600, gamma=0.5, model={"fcnet_hiddens": []}, **settings
    )
    expected = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    np.testing.assert_allclose(values_of(policy, np.eye(5)), expected, atol=0.02)
