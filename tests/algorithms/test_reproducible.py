"""The same seed gives the same result.json, apart from times, where the algorithm promises it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actorrl.algorithms.registry import config_class

ITERATIONS = 12


def rows_of(
    results: Path, name: str, algo: str = "A2C", iterations: int = ITERATIONS, **settings: Any
) -> list[dict[str, Any]]:
    """Rows of a run, without what may differ."""
    config = config_class(algo)().environment("CartPole-v1").debugging(seed=7)
    config.training(evaluation_interval=5, evaluation_duration=3, **settings)
    with config.build(results=results, name=name) as algo:
        for _ in range(iterations):
            algo.train(stay=True)
    lines = (results / name / "result.json").read_text().splitlines()
    return [comparable(json.loads(line)) for line in lines]


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    info = {k: v for k, v in row["info"].items() if k not in ("timing", "process")}
    kept = {
        key: value
        for key, value in row.items()
        if not key.startswith("time_") and not key.endswith("_per_s")
    }
    return {**kept, "info": info}


RECURRENT = {
    "env": "actorrl.testing.probe_envs:MemoryCue",
    "model": {"use_lstm": True, "lstm_cell_size": 8},
}


@pytest.mark.parametrize(
    "settings", [{}, pytest.param(RECURRENT, marks=pytest.mark.slow)], ids=["MLP", "LSTM"]
)
def test_a2c_with_two_worker_processes_gives_the_same_rows_twice(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    one, other = (rows_of(tmp_path, name, num_workers=2, **settings) for name in ("a", "b"))
    assert len(one) == ITERATIONS
    assert one == other
    assert one[-1]["evaluation"]["episodes"] == 3 and one[-1]["episodes_total"] > 5
    params = json.loads((tmp_path / "a" / "params.json").read_text())
    assert params["reproducible"] == "yes: synchronous" and params["seed"] == 7


SMALL = {"train_batch_size": 200}


@pytest.mark.parametrize("algo", ["PPO", pytest.param("PG", marks=pytest.mark.slow)])
def test_other_synchronous_algorithms_give_the_same_rows_twice(algo: str, tmp_path: Path) -> None:
    one, other = (rows_of(tmp_path, n, algo, 4, num_workers=2, **SMALL) for n in ("a", "b"))
    assert len(one) == 4 and one[-1]["timesteps_total"] >= 800
    assert one == other


@pytest.mark.slow
def test_two_learners_give_the_same_rows_twice(tmp_path: Path) -> None:
    settings = {"num_workers": 2, "num_learners": 2, **SMALL}
    one, other = (rows_of(tmp_path, name, "PPO", 4, **settings) for name in ("a", "b"))
    assert len(one) == 4 and one[-1]["info"]["learner"]["num_learners"] == 2
    assert one == other


@pytest.mark.parametrize("num_workers", [0, 2])
def test_local_replay_gives_the_same_rows_twice(num_workers: int, tmp_path: Path) -> None:
    settings = {"algo": "DQN", "num_workers": num_workers, "iterations": 3, "learning_starts": 500}
    one, other = (rows_of(tmp_path, name, **settings) for name in ("a", "b"))
    assert one == other and one[-1]["num_updates"] > 100
    assert one[-1]["timesteps_total"] - one[-2]["timesteps_total"] >= 1000


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "algo", ["TD3", pytest.param("DDPG", marks=SLOW), pytest.param("SAC", marks=SLOW)]
)
def test_continuous_actions_with_replay_give_the_same_rows_twice(algo: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"env": "Pendulum-v1", "num_workers": 0, "random_steps": 100}
    settings |= {"learning_starts": 1200, "samples_per_insert": 4.0}
    one, other = (rows_of(tmp_path, name, algo, 2, **settings) for name in ("a", "b"))
    assert one == other and one[-1]["num_updates"] > 10


def test_learning_from_a_dataset_gives_the_same_rows_twice(tmp_path: Path) -> None:
    recorded = str(tmp_path / "data")
    rows_of(tmp_path, "recording", "A2C", 3, num_workers=0, output=recorded)
    one, other = (rows_of(tmp_path, name, "BC", 5, input_=recorded) for name in ("a", "b"))
    assert one == other and one[-1]["num_updates"] == 500


@pytest.mark.parametrize("algo", ["ES", pytest.param("ARS", marks=pytest.mark.slow)])
def test_evolution_gives_the_same_rows_twice(algo: str, tmp_path: Path) -> None:
    sizes = {"ES": {"episodes_per_batch": 8}, "ARS": {"num_rollouts": 4, "rollouts_used": 2}}
    settings: dict[str, Any] = {"algo": algo, "num_workers": 2, "iterations": 2, **sizes[algo]}
    one, other = (rows_of(tmp_path, name, **settings) for name in ("a", "b"))
    assert one == other and one[-1]["num_updates"] == 2


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    one = rows_of(tmp_path, "a", num_workers=0)
    other = rows_of(tmp_path, "b", num_workers=0, seed=8)
    assert one != other


@pytest.mark.parametrize("name", ["A3C", "IMPALA", "APEX"])
def test_asynchronous_algorithms_say_that_they_promise_nothing(name: str, tmp_path: Path) -> None:
    config = config_class(name)().environment("CartPole-v1").rollouts(num_workers=0)
    with config.build(results=tmp_path, name="run"):
        params = json.loads((tmp_path / "run" / "params.json").read_text())
    assert params["reproducible"] == "not reproducible: asynchronous"
