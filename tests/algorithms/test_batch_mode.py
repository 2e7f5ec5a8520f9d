"""`batch_mode: complete_episodes`: whole episodes where fragments are learned from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from actorrl.algorithms.registry import config_class
from actorrl.envs.multi_agent import make_multi_agent
from actorrl.errors import ConfigError

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


def whole(name: str, env: Any = COUNTING, **settings: Any) -> Any:
    config = config_class(name)().environment(env).debugging(seed=1)
    config.rollouts(num_workers=0, num_envs_per_worker=3, batch_mode="complete_episodes")
    config.reporting(min_time_s_per_iteration=0).training(model={"fcnet_hiddens": [8]})
    return config.training(**settings)


@pytest.mark.parametrize("name", ["PPO", "A2C", "IMPALA", "APPO", "A3C", "PG"])
def test_learners_take_fragments_of_any_length(name: str, tmp_path: Path) -> None:
    config = whole(name, model={"use_lstm": True, "lstm_cell_size": 8})
    config.rollouts(rollout_fragment_length=5).training(train_batch_size=40)
    with config.build(results=tmp_path, name="run") as algo:
        rows = [algo.train() for _ in range(3)]
    assert all(math.isfinite(x) for row in rows for x in row["info"]["learner"].values())
    assert rows[-1]["num_updates"] >= 3 and rows[-1]["episodes_total"] > 10


def test_env_steps_are_those_of_the_episodes_that_have_ended(tmp_path: Path) -> None:
    config = whole("A2C").environment(env_config={"lengths": [4]})
    with (
        config.rollouts(rollout_fragment_length=10)
        .training(train_batch_size=30)
        .build(results=tmp_path, name="run") as algo
    ):
        rows = [algo.train() for _ in range(3)]
    assert rows[-1]["timesteps_total"] == 4 * rows[-1]["episodes_total"]


def test_the_arithmetic_says_that_episodes_may_be_longer() -> None:
    config = whole("A2C").rollouts(num_workers=2, rollout_fragment_length=10)
    assert "2 workers x 3 envs x 10 = at least 60 env steps per round" in config.arithmetic()


def test_several_agents_have_whole_lives(tmp_path: Path) -> None:
    config = whole("PPO", make_multi_agent(COUNTING), train_batch_size=60)
    config.multi_agent(policies=["a", "b"], policy_mapping_fn=lambda agent, **_: "ab"[int(agent)])
    config.environment(env_config={"num_agents": 2})
    with config.build(results=tmp_path, name="run") as algo:
        row = [algo.train() for _ in range(2)][-1]
    assert {"a/total_loss", "b/total_loss"} <= set(row["info"]["learner"])


def test_a_run_with_processes_sends_what_it_did_not_expect(tmp_path: Path) -> None:
    """Slabs of shared memory are made for fragments like the first one."""
    config = whole("PPO", train_batch_size=60).rollouts(num_workers=2)
    with config.environment(env_config={"max_length": 60}).build(
        results=tmp_path, name="run"
    ) as algo:
        assert algo.train()["num_updates"] == 1 == algo.train()["num_updates"] - 1


def test_it_is_refused_where_rows_are_learned_from_and_where_the_last_row_is_missing() -> None:
    with pytest.raises(ConfigError, match="batch_mode: 'complete_episodes' is not accepted"):
        config_class("DQN")().rollouts(batch_mode="complete_episodes")
    with pytest.raises(ConfigError, match="autoreset: same_step together with batch_mode complete"):
        whole("PPO", autoreset="same_step").program()
