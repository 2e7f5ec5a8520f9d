"""A cue that must be remembered: only what keeps a state over steps can learn it."""

from __future__ import annotations

from typing import Any

import pytest

from actorrl.algorithms.base import Setup
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.testing.probe_envs import MemoryCue
from tests.roles import worlds

UPDATES = {"A2C": 250, "IMPALA": 250, "APPO": 250, "PPO": 40}
SETTINGS = {"PPO": {"train_batch_size": 700, "num_sgd_iter": 4, "lr": 3e-3}}

# APPO's is IMPALA's role and PPO's loss: the two are enough for every day.
_OTHERS = ["A2C", "IMPALA", "APPO"]
ALGORITHMS = ["PPO", *(pytest.param(name, marks=pytest.mark.slow) for name in _OTHERS)]


def mean_return(name: str, model: dict[str, Any]) -> float:
    """Of the last 300 episodes of a run in this process. The cue is shown ten steps before it is
    asked for, and fragments of 16 rows cut episodes of 11 anywhere."""
    config = config_class(name)().environment(MemoryCue, env_config={"delay": 10})
    config.rollouts(num_workers=0, num_envs_per_worker=16, rollout_fragment_length=16)
    config.training(lr=5e-3, entropy_coeff=0.01, train_batch_size=200)
    config.training(**SETTINGS.get(name, {}))
    config.training(model={"fcnet_hiddens": [16], "fcnet_activation": "tanh", **model})
    program = config.algorithm.program(config, Setup(checked(config), 1, lambda: None))
    with worlds.running(program) as cluster:
        report = worlds.train(cluster, min_updates=UPDATES[name])
    last = [episode_return for _, episode_return, _ in report["episodes"][-300:]]
    return sum(last) / len(last)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_lstm_learns_what_to_remember(name: str) -> None:
    assert mean_return(name, {"use_lstm": True, "lstm_cell_size": 32}) >= 0.95


@pytest.mark.parametrize("name", ALGORITHMS)
def test_without_memory_the_answer_stays_at_chance(name: str) -> None:
    assert mean_return(name, {}) < 0.62
