"""A checkpoint goes on with another number of workers, and on a machine without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actorrl.algorithms.base import Algorithm
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.resuming import resume
from actorrl.errors import ConfigError
from actorrl.experiment.checkpoints import read_checkpoint, read_manifest, write_checkpoint
from actorrl.experiment.run_folder import RunFolder
from actorrl.runtime.inventory import gpu_ids

BATCHES = {"PPO": 256, "IMPALA": 128, "APEX": 32, "SAC": 32, "ES": 4}


def trained(name: str, tmp_path: Path, **settings: Any) -> tuple[str, dict[str, Any]]:
    """A checkpoint of a short run on CartPole, and the run's last result."""
    config = config_class(name)().environment("CartPole-v1").debugging(seed=1)
    config.rollouts(**{"num_workers": 2, "num_envs_per_worker": 4, **settings})
    if name == "ES":
        config.training(episodes_per_batch=8)  # four pairs, for up to four workers
    else:
        config.training(train_batch_size=BATCHES[name])
    with config.build(results=tmp_path, name="before") as algo:
        row = algo.train()
        return algo.save(), row


@pytest.mark.parametrize(
    "name",
    [
        "PPO",
        pytest.param("APEX", marks=pytest.mark.slow),
        pytest.param("IMPALA", marks=pytest.mark.slow),
        pytest.param("SAC", marks=pytest.mark.slow),
        pytest.param("ES", marks=pytest.mark.slow),
    ],
)
def test_a_run_goes_on_with_another_number_of_workers(name: str, tmp_path: Path) -> None:
    path, row = trained(name, tmp_path)
    weights = read_checkpoint(path)["learner"]["weights"]
    for workers in (1, 3):
        algo = config_class(name).algorithm.from_checkpoint(
            path, results=tmp_path, name=f"{workers}", num_workers=workers
        )
        with algo:
            assert algo.workers.num_remote_workers() == workers
            np.testing.assert_array_equal(algo.newest_policy().flat_weights(), weights)
            after = algo.train()
        assert after["training_iteration"] == row["training_iteration"] + 1
        assert after["timesteps_total"] > row["timesteps_total"]
        if name != "SAC":  # its replay begins empty, an iteration fills it
            assert after["num_updates"] > row["num_updates"]


def test_a_run_in_one_process_takes_over_from_one_with_other_environments(tmp_path: Path) -> None:
    path, row = trained("PPO", tmp_path)
    config = config_class("PPO")().environment("CartPole-v1").training(train_batch_size=64)
    config.rollouts(num_workers=0, num_envs_per_worker=3)
    with config.build(results=tmp_path, name="after") as algo:
        algo.restore(path)
        assert algo.train()["training_iteration"] == row["training_iteration"] + 1


def test_what_several_learners_learned_goes_on_with_one_in_one_process(tmp_path: Path) -> None:
    path, row = trained("PPO", tmp_path, num_workers=0)
    about = read_manifest(path).about
    about["config"] = {**about["config"], "num_learners": 2, "num_workers": 2}
    path = str(write_checkpoint(tmp_path / "several", read_checkpoint(path), about))
    ppo = config_class("PPO").algorithm
    with ppo.from_checkpoint(path, results=tmp_path, name="one", num_workers=0) as algo:
        assert algo.train()["training_iteration"] == row["training_iteration"] + 1
        assert "num_learners: 2 in the checkpoint, and num_workers 0 is one process" in algo.notices
    with pytest.raises(ConfigError, match="num_learners: 99 is more than"):
        ppo.from_checkpoint(path, results=tmp_path, name="many", num_learners=99)


def with_gpu(path: str, to: Path) -> str:
    """The same checkpoint, as a machine with a GPU would have written it."""
    about = read_manifest(path).about
    asked = {"num_gpus": 1.0, "num_gpus_per_worker": 0.5, "cuda_graphs": True}
    about["config"] = {**about["config"], **asked}
    if "storage" in about["config"]:
        about["config"]["storage"] = "cuda"
    return str(write_checkpoint(to, read_checkpoint(path), about))


@pytest.mark.skipif(bool(gpu_ids()), reason="this machine has a GPU")
def test_what_was_trained_on_a_gpu_goes_on_without_one_and_says_so(tmp_path: Path) -> None:
    path, row = trained("PPO", tmp_path, num_workers=0)
    folder = RunFolder.open(tmp_path / "before")
    from_gpu = with_gpu(path, folder.checkpoints / "checkpoint_000009")
    with Algorithm.from_checkpoint(from_gpu, results=tmp_path, name="after") as algo:
        assert algo.notices == [
            "num_gpus: 1 in the checkpoint, and there is none here: on the CPU",
            "num_gpus_per_worker: 0.5 in the checkpoint, and there is none here: on the CPU",
            "cuda_graphs: needs the GPU that was there before the checkpoint: not now",
        ]
        assert algo.train()["training_iteration"] == row["training_iteration"] + 1
    (folder.checkpoints / Path(path).name).rename(tmp_path / "aside")
    folder.recovery.rename(tmp_path / "recovery aside")  # written without that GPU, too
    algo = resume(folder)
    algo.stop()
    assert algo.config.num_gpus == 0


GPU_DRAWS = np.arange(16, dtype=np.uint8)  # the state of a generator on CUDA: its seed and place


@pytest.mark.parametrize(("name", "env"), [("SAC", "CartPole-v1"), ("TD3", "Pendulum-v1")])
def test_updates_that_drew_on_a_gpu_go_on_without_one(name: str, env: str, tmp_path: Path) -> None:
    config = config_class(name)().environment(env).rollouts(num_workers=0)
    config.training(learning_starts=64, train_batch_size=8, samples_per_insert=0.1)
    with config.build(results=tmp_path, name="run") as algo:
        algo.train()
        state = algo.get_state()
        assert state["learner"]["update"]["random"].size > GPU_DRAWS.size
        state["learner"]["update"]["random"] = GPU_DRAWS
        algo.set_state(state)
        assert algo.train()["num_updates"] > state["learner"]["num_updates"]


@pytest.mark.skipif(bool(gpu_ids()), reason="this machine has a GPU")
def test_frames_that_were_kept_on_a_gpu_are_kept_on_the_host_without_one(tmp_path: Path) -> None:
    config = config_class("DQN")().environment("CartPole-v1").rollouts(num_workers=0)
    with config.build(results=tmp_path, name="before") as algo:
        path = with_gpu(algo.save(), tmp_path / "from a gpu")
    with Algorithm.from_checkpoint(path, results=tmp_path, name="after") as algo:
        assert algo.config.storage is None
        assert any(notice.startswith("storage: needs the GPU") for notice in algo.notices)


def test_rllibs_names_for_the_state_and_a_folder_that_is_the_checkpoint(tmp_path: Path) -> None:
    config = config_class("PPO")().environment("CartPole-v1").rollouts(num_workers=0)
    config.training(train_batch_size=64, rollout_fragment_length=16)
    folder = tmp_path / "mine"
    folder.mkdir()
    with config.build(results=tmp_path, name="run") as algo:
        algo.train()
        state, weights = algo.get_state(), algo.newest_policy().flat_weights().copy()
        assert algo.save_checkpoint(folder) == str(folder)
        algo.train()
        assert not np.array_equal(algo.newest_policy().flat_weights(), weights)
        algo.set_state(state)
        np.testing.assert_array_equal(algo.newest_policy().flat_weights(), weights)
        assert algo.training_iteration == 1
        algo.train()
        algo.restore(folder)
        np.testing.assert_array_equal(algo.newest_policy().flat_weights(), weights)
