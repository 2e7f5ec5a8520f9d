"""How often observations are copied on their way to the learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actorrl import copies
from actorrl.algorithms.registry import algorithm_class

_SMALL: dict[str, Any] = {
    "num_workers": 0,
    "num_envs_per_worker": 2,
    "rollout_fragment_length": 8,
    "train_batch_size": 16,
    "min_time_s_per_iteration": 0,
    "env_config": {"screen_size": 36},
    "model": {"conv_filters": [[4, 8, 4]], "fcnet_hiddens": [16]},
    "seed": 1,
}


@pytest.fixture
def _counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "COUNTING", True)
    copies.clear()


def counted(
    name: str, results: Path, settings: dict[str, Any], num_env_steps: int = 0
) -> dict[str, Any]:
    """`info.copies` of a row after some updates on Atari frames, all actors in this process."""
    algorithm = algorithm_class(name)(
        {**_SMALL, **settings}, env="ALE/Pong-v5", results=results, announce=False
    )
    try:
        row: dict[str, Any] = {}
        while row.get("num_updates", 0) < 2 or row["timesteps_total"] < num_env_steps:
            row = algorithm.train()
    finally:
        algorithm.stop()
    found: dict[str, Any] = row["info"]["copies"]
    return found


def test_bytes_of_observations_are_counted_by_stage_and_others_are_not() -> None:
    copies.clear()
    copies.count("frames", "obs")
    frames, rewards = np.zeros(100, np.uint8), np.zeros(7, np.float32)
    copies.note_all("message", {"default_policy/frames": frames, "default_policy/rewards": rewards})
    copies.note("fragment", "frames", passed=100, copied=110)
    copies.note("batch", "obs", passed=50, copied=0)
    assert copies.totals() == {"message": [100, 100], "fragment": [100, 110], "batch": [50, 0]}
    copies.clear()
    assert copies.totals() == {}


def test_several_processes_add_up_and_stages_are_summed_along_the_way() -> None:
    workers = copies.merged([{"fragment": [50, 50]}, {"fragment": [50, 100], "message": [60, 60]}])
    stages = copies.per_stage(workers, num_env_steps=10)
    assert stages["fragment"] == {"times": 1.5, "bytes_per_env_step": 15.0}
    assert copies.summary(stages)["times_to_batch"] == 2.5


def test_with_replay_the_way_into_its_memory_and_the_way_out_are_two() -> None:
    found = {"fragment": [10, 10], "insert": [10, 10], "sample": [80, 80], "batch": [80, 160]}
    summary = copies.summary(copies.per_stage(found, 1))
    assert summary["times_to_replay"] == 2.0
    assert summary["times_to_batch"] == 3.0
    assert list(summary["stages"]) == ["fragment", "insert", "sample", "batch"]


@pytest.mark.usefixtures("_counting")
def test_a_result_row_tells_the_stages_of_a_run(tmp_path: Path) -> None:
    found = counted("IMPALA", tmp_path, {})
    assert list(found["stages"]) == ["fragment", "batch"]
    assert found["stages"]["batch"] == {"times": 1.0, "bytes_per_env_step": 36 * 36 * 12 / 8}


def test_a_row_of_a_run_that_does_not_count_has_none(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        counted("A3C", tmp_path, {})


_REPLAY = {
    "learning_starts": 32,
    "replay_capacity": 500,
    "n_step": 3,
    "model": {"conv_filters": [[4, 8, 4]], "fcnet_hiddens": [16]},
}


@pytest.mark.usefixtures("_counting")
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("IMPALA", {}),
        ("APPO", {}),
        ("A3C", {}),
        ("PPO", {"sgd_minibatch_size": 16, "num_sgd_iter": 1}),
        ("APEX", {**_REPLAY, "num_replay_shards": 2}),
        ("DQN", _REPLAY),
    ],
)
def test_no_byte_of_a_frame_is_copied_more_than_twice_on_its_way(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    found = counted(name, tmp_path, settings)
    assert found["stages"]["fragment"]["times"] >= 1.0
    assert 0.0 < found["times_to_batch"] <= 2.0
    assert found.get("times_to_replay", 0.0) <= 2.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [("IMPALA", {}), ("PPO", {}), ("APEX", {**_REPLAY, "num_replay_shards": 1})],
)
def test_nor_between_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    """But in the first fragment of each slot of shared memory, which is not yet known to fit."""
    monkeypatch.setenv(copies.VARIABLE, "1")
    many = {
        "num_workers": 1,
        "num_envs_per_worker": 4,
        "env_config": {},
        "train_batch_size": 256,
        "min_time_s_per_iteration": 3,
    }
    found = counted(name, tmp_path, {**settings, **many}, num_env_steps=2000)
    assert found["stages"]["message"]["times"] < 0.2
    assert found["times_to_batch"] <= 2.2
    assert found.get("times_to_replay", 0.0) <= 2.2
