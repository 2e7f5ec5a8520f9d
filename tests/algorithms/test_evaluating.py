"""Evaluators: processes of their own that play beside training, with weights that are said."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from actorrl import DefaultCallbacks
from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.ppo import PPOConfig
from actorrl.envs.multi_agent import make_multi_agent
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


def returns_of(algorithm: Any, eval_workers: Any) -> dict[str, Any]:
    """As in RLlib's example: environments are set up, then each sample is an episode."""
    eval_workers.foreach_worker(
        lambda worker: worker.foreach_env(lambda env: setattr(env, "lengths", [4]))
    )
    before = eval_workers.foreach_worker(lambda worker: worker.sample().count)
    samples = eval_workers.foreach_worker(lambda worker: dict(worker.sample()))
    return {
        "weights": eval_workers.foreach_worker(lambda w: w.get_policy().flat_weights().sum()),
        "wanted": algorithm.get_policy().flat_weights().sum(),
        "counts": [len(rows["rewards"]) for rows in samples],
        "ended": [bool(rows["terminateds"][-1] or rows["truncateds"][-1]) for rows in samples],
        "processes": len(set(eval_workers.foreach_worker(lambda worker: os.getpid()))),
        "before": before,
    }


@pytest.mark.parametrize(
    ("evaluators", "workers"), [(0, 0), (2, 0), pytest.param(2, 1, marks=pytest.mark.slow)]
)
def test_a_function_of_the_users_gets_workers_that_evaluate(
    tmp_path: Path, evaluators: int, workers: int
) -> None:
    config = config_of(evaluation_num_workers=evaluators, evaluation_interval=1)
    config.rollouts(num_workers=workers)
    config.evaluation(custom_evaluation_function=returns_of)
    config.evaluation(evaluation_duration="auto" if evaluators else 10)
    with config.environment(env_config={"lengths": [3]}).build(
        results=tmp_path, name="run"
    ) as algo:
        for _ in range(2):
            found = algo.train()["evaluation"]
            assert found["weights"] == pytest.approx([found["wanted"]] * max(1, evaluators))
        assert found["ended"] == [True] * max(1, evaluators)
        assert found["counts"] == [4] * max(1, evaluators), "the environments that were set up"
        assert found["processes"] == (evaluators if workers else 1)
        assert algo._evaluations._under_way is None, "nobody plays what is never asked for"


def test_what_is_no_duration_and_no_metrics_is_told_of(tmp_path: Path) -> None:
    config = config_of(evaluation_num_workers=0).rollouts(num_workers=0)
    with config.build(results=tmp_path, name="run", start=False) as algo:
        for wrong in (0, "all", 1.5):
            with pytest.raises(ConfigError, match=f"episodes={wrong!r} is not accepted"):
                algo.evaluate(episodes=wrong)
        with pytest.raises(ConfigError, match="returned None, expected a dict of metrics"):
            algo.evaluate(evaluation_fn=lambda algorithm, workers: None)


class Measuring(DefaultCallbacks):
    def on_episode_end(self, *, worker: Any, episode: Any, **kwargs: Any) -> None:
        episode.custom_metrics["steps"] = episode.length


@pytest.mark.parametrize("evaluators", [0, 1])
def test_callbacks_see_evaluations_and_their_metrics_are_told(
    tmp_path: Path, evaluators: int
) -> None:
    config = config_of(evaluation_num_workers=evaluators, evaluation_duration=4)
    config.callbacks(Measuring).environment(env_config={"lengths": [3, 5]}).rollouts(num_workers=0)
    with config.build(results=tmp_path, name="run") as algo:
        found = algo.evaluate()
        metrics = found["custom_metrics"]
        assert (metrics["steps_min"], metrics["steps_max"]) == (3, 3), "first episodes of 4 each"
        assert found["policy_reward_mean"] == {"default_policy": found["episode_reward_mean"]}
        assert algo.evaluate(steps=7)["custom_metrics"]["steps_max"] == 3


def test_returns_of_each_policy_are_told_of_evaluations_too(tmp_path: Path) -> None:
    config = PPOConfig().environment(make_multi_agent("CartPole-v1"), env_config={"num_agents": 3})
    config.multi_agent(policies=["even", "odd"], policy_mapping_fn=parity).callbacks(Measuring)
    with config.rollouts(num_workers=0).build(results=tmp_path, name="run") as algo:
        found = algo.evaluate(episodes=2)
    parts = found["policy_reward_mean"]
    assert set(parts) == {"even", "odd"}
    assert sum(parts.values()) == pytest.approx(found["episode_reward_mean"])
    assert found["custom_metrics"]["steps_mean"] == found["episode_len_mean"]


def parity(agent: Any) -> str:
    return ("even", "odd")[agent % 2]


def kill_the_evaluator(algo: Any) -> None:
    (pid,) = [row["pid"] for row in algo.status() if row["role"] == "evaluator"]
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_evaluator_leaves_its_share_out_and_comes_back(tmp_path: Path) -> None:
    with config_of(evaluation_num_workers=1).build(results=tmp_path, name="run") as algo:
        kill_the_evaluator(algo)
        assert algo.evaluate(episodes=4)["episodes"] == 4, "whoever plays them"


@pytest.mark.slow
def test_a_function_of_the_users_has_a_worker_though_the_evaluator_was_killed(
    tmp_path: Path,
) -> None:
    with config_of(evaluation_num_workers=1).build(results=tmp_path, name="run") as algo:
        kill_the_evaluator(algo)
        found = algo.evaluate(evaluation_fn=returns_of)
        assert found["counts"] == [4] and found["weights"] == [pytest.approx(found["wanted"])]
