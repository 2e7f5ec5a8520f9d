"""Evaluators: processes of their own that play beside training, with weights that are said."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from actorrl.algorithms.a2c import A2CConfig
from actorrl.errors import ConfigError

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


def config_of(**settings: Any) -> A2CConfig:
    config = A2CConfig().environment(COUNTING).debugging(seed=3).rollouts(num_workers=1)
    return config.evaluation(**{"evaluation_num_workers": 2, **settings})


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    keys = ("training_iteration", "timesteps_total", "episode_reward_mean", "evaluation")
    return {key: row[key] for key in keys}


def test_evaluators_share_the_episodes_and_repeat_themselves(tmp_path: Path) -> None:
    """Rows are the same twice, though they play while the learner goes on."""
    runs = []
    for name in ("a", "b"):
        config = config_of(evaluation_interval=2, evaluation_duration=5)
        with config.build(results=tmp_path, name=name) as algo:
            runs.append([comparable(algo.train(stay=True)) for _ in range(4)])
            roles = [row["role"] for row in algo.status()]
            once, again = (algo.evaluate(episodes=7) for _ in range(2))
    assert runs[0] == runs[1]
    assert [row["evaluation"].get("episodes") for row in runs[0]] == [None, 5, 5, 5]
    assert roles.count("evaluator") == 2
    assert once == again and once["episodes"] == 7


def test_without_processes_they_play_in_the_same_loop(tmp_path: Path) -> None:
    config = config_of(evaluation_interval=1, evaluation_duration=3).rollouts(num_workers=0)
    with config.build(results=tmp_path, name="run") as algo:
        assert algo.train()["evaluation"]["episodes"] == 3
        assert algo.evaluate(steps=10)["episodes"] >= 2, "of at most 7 steps each"
        for asked in ({"steps": 0}, {"episodes": -1}, {"duration_fn": lambda _: 0}):
            with pytest.raises(ConfigError, match=r"evaluate: .*=(0|-1) is not .* at least 1"):
                algo.evaluate(**asked)


def test_a_duration_may_be_counted_in_env_steps(tmp_path: Path) -> None:
    """By the driver, and shared out over processes: episodes of 3 steps, the last one cut."""
    settings = {"evaluation_duration_unit": "timesteps", "evaluation_interval": 1}
    config = config_of(evaluation_duration=10, evaluation_num_workers=0, **settings)
    config.rollouts(num_workers=0).environment(env_config={"lengths": [3]})
    with config.build(results=tmp_path, name="driver") as algo:
        played = algo.train()["evaluation"]
        assert (played["episodes"], played["episode_len_mean"]) == (4, 10 / 4)
        assert algo.evaluate(steps=9)["episodes"] == 3, "no episode of no step"
        assert algo.evaluate(episodes=2)["episodes"] == 2
    config = config_of(evaluation_duration=11, **settings)
    with config.environment(env_config={"lengths": [3]}).build(
        results=tmp_path, name="processes"
    ) as algo:
        played = algo.train()["evaluation"]
        assert played["episodes"] == 2 + 2, "6 and 5 steps"
        assert played["episode_len_mean"] == 11 / 4


def test_evaluations_may_explore_and_have_another_environment(tmp_path: Path) -> None:
    given = {"explore": True, "env_config": {"lengths": [2]}}
    config = config_of(evaluation_config=given, evaluation_interval=1, evaluation_duration=4)
    assert config.evaluation_explore
    config.environment(env_config={"lengths": [5]})
    for workers in (0, 2):
        config.evaluation(evaluation_num_workers=workers)
        with config.build(results=tmp_path, name=f"run{workers}") as algo:
            row = algo.train()
            assert (row["evaluation"]["episode_len_mean"], row["episode_len_mean"]) == (2, 5)


def test_auto_plays_whole_rounds_while_an_iteration_trains(tmp_path: Path) -> None:
    config = config_of(evaluation_interval=1, evaluation_duration="auto")
    with config.training(train_batch_size=20_000).build(results=tmp_path, name="run") as algo:
        played = [algo.train()["evaluation"]["episodes"] for _ in range(2)]
        assert algo.evaluate()["episodes"] == 10
    assert all(episodes >= 20 and episodes % 10 == 0 for episodes in played)
    assert max(played) > 20, "more than one round"
    with pytest.raises(ConfigError, match="evaluation_duration: auto without"):
        config_of(evaluation_duration="auto", evaluation_num_workers=0).program()


@pytest.mark.slow
def test_a_killed_evaluator_leaves_its_share_out_and_comes_back(tmp_path: Path) -> None:
    with config_of(evaluation_num_workers=1).build(results=tmp_path, name="run") as algo:
        (pid,) = [row["pid"] for row in algo.status() if row["role"] == "evaluator"]
        os.kill(pid, signal.SIGKILL)
        assert algo.evaluate(episodes=4)["episodes"] == 4, "whoever plays them"
