"""Runs with several learners, each in a process of its own; kills: tests/system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actorrl.algorithms.registry import config_class
from actorrl.envs.multi_agent import make_multi_agent

pytestmark = pytest.mark.slow
LSTM = {"model": {"use_lstm": True, "lstm_cell_size": 8}}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "PPO, LSTM": ("PPO", LSTM),
    "IMPALA, LSTM": ("IMPALA", LSTM),
    "PG, LSTM": ("PG", LSTM),
    "A2C, filter": ("A2C", {"observation_filter": "MeanStdFilter"}),
    "APPO, target": ("APPO", {"target_network_update_freq": 2, "kl_coeff": 0.2}),
    "PPO, three": ("PPO", {"num_learners": 3}),
}


def configured(algo: str, **settings: Any) -> Any:
    config = config_class(algo)().environment("CartPole-v1").debugging(seed=0)
    config.rollouts(num_workers=1, num_envs_per_worker=4).learners(num_learners=2)
    config.training(train_batch_size=256, **settings)
    return config.reporting(min_time_s_per_iteration=0.3)


def events(results: Path, kind: str) -> list[dict[str, Any]]:
    lines = (results / "run" / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def shared(row: dict[str, Any]) -> tuple[int, int]:
    """Learners of the last batch, and rows that were lost so far."""
    found = row["info"]["learner"]
    return found["num_learners"], found["num_rows_lost"]


@pytest.mark.parametrize("case", CASES)
def test_one_generation_learns_all_batches(case: str, tmp_path: Path) -> None:
    algo, settings = CASES[case]
    with configured(algo, **settings).build(results=tmp_path, name="run") as run:
        rows = [run.train(stay=True) for _ in range(4)]
        size = run.config.num_learners
    assert [shared(row) for row in rows] == [(size, 0)] * 4
    assert rows[-1]["num_updates"] >= 4
    assert len(events(tmp_path, "learners_met")) == 1


def test_each_of_two_policies_learns(tmp_path: Path) -> None:
    config = configured("PPO").environment(make_multi_agent("CartPole-v1"))
    config.env_config["num_agents"] = 2
    config.multi_agent(policies=["0", "1"], policy_mapping_fn=lambda agent, **more: str(agent))
    with config.build(results=tmp_path, name="run") as run:
        before = run.get_policy("1").get_weights()
        rows = [run.train() for _ in range(3)]
        after = run.get_policy("1").get_weights()
    assert [shared(row) for row in rows] == [(2, 0)] * 3
    assert any(not np.array_equal(before[name], after[name]) for name in before)
    assert {"0/total_loss", "1/total_loss"} <= rows[-1]["info"]["learner"].keys()


def test_partners_get_what_the_driver_sets(tmp_path: Path) -> None:
    """Weights and checkpoints begin a new generation with the lead's whole state."""
    with configured("PPO").build(results=tmp_path, name="run") as run:
        run.train()
        path = run.save()
        weights = {name: 0.5 * x for name, x in run.get_policy().get_weights().items()}
        run.get_policy().set_weights(weights)
        assert shared(run.train()) == (2, 0)
        run.restore(path)
        assert shared(run.train()) == (2, 0)
    met = events(tmp_path, "learners_met")
    assert [event["generation"] for event in met] == [1, 2, 3]


def test_a_checkpoint_goes_on_with_as_many(tmp_path: Path) -> None:
    with configured("PPO").build(results=tmp_path, name="run") as run:
        timesteps = run.train()["timesteps_total"]
        path = run.save()
    with type(run).from_checkpoint(path, results=tmp_path, name="more") as more:
        row = more.train()
    assert shared(row) == (2, 0)
    assert row["timesteps_total"] > timesteps and row["num_updates"] == 2
