"""Whole algorithms on environments whose values are known by hand, in this process.

The answers are those of each algorithm's own fixed point, so every test says what that is.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actorrl.algorithms.base import Setup
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.testing.probe_envs import Chain, ConstantReward
from tests.roles import worlds

ONE_STEP: dict[str, dict[str, Any]] = {
    "A2C": {"lambda_": 0.0},
    "A3C": {"lambda_": 0.0},
    "IMPALA": {"vtrace_lambda": 0.0},
    "APPO": {"vtrace_lambda": 0.0, "num_sgd_iter": 1},
    "PPO": {"lambda_": 0.0, "num_sgd_iter": 2, "sgd_minibatch_size": 10},
}
# 10 decisions and, under NEXT_STEP, the row after the end: every fragment is a whole episode.
ROWS = {"next_step": 11, "same_step": 10}


def tenth(context: Any) -> gym.Env[Any, Any]:
    """Rewards of .1, so that no TD error is beyond the Huber loss's quadratic part, and one action:
    each of two would have its own sample of the ends, and the higher value is taken (+ .014)."""
    env = gym.wrappers.TransformReward(ConstantReward(**context), lambda reward: reward / 10)
    env.action_space = gym.spaces.Discrete(1)
    return env


def trained(name: str, env: Any, updates: int, **settings: Any) -> Any:
    """The policy after so many updates of the algorithm's own Program in this process."""
    config = config_class(name)().environment(env, env_config=settings.pop("env_config", {}))
    config.rollouts(num_workers=0, num_envs_per_worker=2).training(**settings)
    program = config.algorithm.program(config, Setup(checked(config), 3, lambda: None))
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=updates)
        return worlds.actor(cluster).update.policy


def values_of(policy: Any, obs: np.ndarray) -> np.ndarray:
    """V or max Q of each observation [N, ...]."""
    extras = policy.act(obs.astype(np.float32)).extras
    return extras["vf_preds"] if "vf_preds" in extras else extras["q_values"].max(axis=1)


def value_of_constant(name: str, truncate: bool, autoreset: str) -> float:
    rows = ROWS[autoreset]
    policy = trained(
        name,
        ConstantReward,
        400,
        env_config={"limit": 10, "truncate": truncate},
        gamma=0.9,
        autoreset=autoreset,
        rollout_fragment_length=rows,
        train_batch_size=2 * 10,
        lr_schedule=[[0, 0.05], [5000, 0.05], [8000, 0.002]],
        model={"fcnet_hiddens": []},
        **ONE_STEP[name],
    )
    return float(values_of(policy, np.ones((1, 2)))[0])


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("name", list(ONE_STEP))
def test_a_constant_reward_is_worth_10_where_the_end_is_a_truncation(
    name: str, autoreset: str
) -> None:
    """v = 1 + .9 v."""
    value = value_of_constant(name, True, autoreset)
    assert value == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("name", list(ONE_STEP))
def test_a_constant_reward_is_worth_5_26_where_the_end_is_a_termination(
    name: str, autoreset: str
) -> None:
    """One row in ten has no bootstrap: v = 1 + .9 (9/10) v, with one-step targets."""
    value = value_of_constant(name, False, autoreset)
    assert value == pytest.approx(1 / 0.19, abs=0.1)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize(
    ("truncate", "n_step", "answer"),
    [(True, 1, 1.0), (True, 3, 1.0), (False, 1, 0.1 / 0.19), (False, 3, 0.2458 / 0.4897)],
)
def test_apex_gives_a_constant_reward_its_value(
    truncate: bool, n_step: int, answer: float, autoreset: str
) -> None:
    """Of uniform samples (alpha 0). With 3 steps and termination, of ten rows seven have the target
    .271 + .729 q, and one each .271, .19 and .1: q = .2458 + .5103 q."""
    policy = trained(
        "APEX",
        tenth,
        800,
        env_config={"limit": 10, "truncate": truncate},
        gamma=0.9,
        autoreset=autoreset,
        n_step=n_step,
        prioritized_replay_alpha=0.0,
        samples_per_insert=16.0,
        learning_starts=200,
        train_batch_size=128,
        target_network_update_freq=10,
        lr_schedule=[[0, 0.01], [2000, 0.01], [6000, 0.0002]],
        model={"fcnet_hiddens": []},
    )
    assert values_of(policy, np.ones((1, 2)))[0] == pytest.approx(answer, abs=0.03)


@pytest.mark.parametrize("name", ["A2C", "A3C", "IMPALA", "APPO", "PPO", "APEX", "DQN"])
def test_a_chain_of_five_has_the_values_one_sixteenth_to_one(name: str) -> None:
    settings: dict[str, Any] = {"lr": 0.01}
    if name == "APPO":
        settings |= {"train_batch_size": 128, "num_sgd_iter": 1}
    if name == "PPO":
        settings |= {"train_batch_size": 50, "sgd_minibatch_size": 25, "num_sgd_iter": 2}
    if name in ("APEX", "DQN"):
        settings = {"learning_starts": 200, "target_network_update_freq": 20}
        settings["lr_schedule"] = [[0, 0.01], [3000, 0.01], [8000, 0.001]]
    if name == "DQN":
        settings["tau"] = 1.0  # copies, as APEX does
    policy = trained(name, Chain, 400, gamma=0.5, model={"fcnet_hiddens": []}, **settings)
    expected = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
    np.testing.assert_allclose(values_of(policy, np.eye(5)), expected, atol=0.02)


@pytest.mark.parametrize(
    "switches",
    [
        {"num_atoms": 31, "v_min": -1.0, "v_max": 2.0},
        {"noisy": True, "n_step": 1},
        {"double_q": False, "dueling": False, "prioritized_replay": False},
    ],
    ids=["distributional", "noisy", "plain"],
)
def test_each_switch_of_dqn_leaves_the_values_of_a_chain_what_they_are(
    switches: dict[str, Any],
) -> None:
    settings = {"learning_starts": 200, "target_network_update_freq": 10, "tau": 1.0}
    schedule = [[0, 0.01], [3000, 0.01], [8000, 0.001]]
    policy = trained(
        "DQN",
        Chain,
        400,
        gamma=0.5,
        model={"fcnet_hiddens": []},
        lr_schedule=schedule,
        samples_per_insert=16.0,
        **settings,
        **switches,
    )
    q = policy.act(np.eye(5, dtype=np.float32), explore=False).extras["q_values"]
    np.testing.assert_allclose(q.max(axis=1), [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1], atol=0.05)


def far_chain(context: Any) -> gym.Env[Any, Any]:
    """States that a network can hardly tell apart: 1,000 and a hundredth."""
    space = gym.spaces.Box(1000.0, 1001.0, (5,), np.float32)
    return gym.wrappers.TransformObservation(Chain(), lambda obs: 1000 + obs / 100, space)


def test_a_filter_shows_dqn_the_states_of_a_chain_that_lie_close_together() -> None:
    policy = trained(
        "DQN",
        far_chain,
        400,
        gamma=0.5,
        model={"fcnet_hiddens": []},
        observation_filter="MeanStdFilter",
        learning_starts=200,
        target_network_update_freq=20,
        tau=1.0,
        lr_schedule=[[0, 0.01], [3000, 0.01], [8000, 0.001]],
    )
    found = values_of(policy, 1000 + np.eye(5) / 100)
    np.testing.assert_allclose(found, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1], atol=0.05)
