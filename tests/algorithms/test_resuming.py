"""A run that goes on in its folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import msgspec
import numpy as np
import pytest

from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.base import Algorithm
from actorrl.algorithms.restoring import newest_learner_state
from actorrl.algorithms.resuming import resume
from actorrl.errors import CheckpointError, ConfigError, RunFailed
from actorrl.experiment import ownership
from actorrl.experiment.run_folder import RunFolder
from actorrl.experiment.state_files import write_json
from actorrl.runtime import strays
from tests.runtime.clusters import wait_until


def files_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_resumed_run_keeps_as_many_checkpoints_as_it_was_started_with(tmp_path):
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=0, num_envs_per_worker=2)
    config.training(train_batch_size=100)
    with config.build(results=tmp_path, name="run", keep=2) as algo:
        algo.train()
        algo.save()
    with resume(RunFolder.open(tmp_path / "run")) as algo:
        for _ in range(3):
            algo.train()
            algo.save()
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["checkpoint_000003", "checkpoint_000004"]


def test_an_environment_of_other_spaces_is_refused_and_leaves_the_run_as_it_was(tmp_path):
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=0, num_envs_per_worker=2)
    with config.training(train_batch_size=100).build(results=tmp_path, name="run") as algo:
        algo.train()
        algo.save()
    folder = RunFolder.open(tmp_path / "run")
    before = files_in(folder.path)
    with pytest.raises(CheckpointError, match="observation_space is"):
        resume(folder, env="Pendulum-v1")
    assert files_in(folder.path) == before


def test_a_learner_that_recovers_twice_from_one_checkpoint_has_two_epochs(tmp_path):
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=0, num_envs_per_worker=2)
    with config.training(train_batch_size=100).build(results=tmp_path, name="run") as algo:
        algo.train()
        algo.save()
    found = [newest_learner_state(str(tmp_path / "run")) for _ in range(2)]
    assert [each.epoch for each in found] == [2, 3]
    assert found[0].checkpoint == found[1].checkpoint


def test_what_a_run_has_left_whose_processes_were_all_killed_is_ended_first(tmp_path):
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=0, num_envs_per_worker=2)
    with config.training(train_batch_size=100).build(results=tmp_path, name="run") as algo:
        algo.train()
        algo.save()
    gone = subprocess.Popen(["true"])
    owner = ownership.Owner(
        pid=gone.pid, started="long ago", hostname=socket.gethostname(), run_id="dead-run"
    )
    gone.wait()
    write_json(tmp_path / "run" / "owner.json", msgspec.to_builtins(owner))
    marked = {**os.environ, "ACTORRL_RUN_ID": "dead-run"}
    stray = subprocess.Popen(["sleep", "1000"], env=marked, start_new_session=True)
    try:
        # Popen returns before the kernel shows the environment of what it has started
        wait_until(lambda: strays.of_run("dead-run") == [stray.pid])
        with resume(RunFolder.open(tmp_path / "run")) as algo:
            assert stray.wait(10) == -signal.SIGKILL
            assert algo.train()["training_iteration"] == 2
    finally:
        stray.kill()
        stray.wait()


def test_a_loaded_checkpoint_acts_and_is_evaluated_before_any_process_is_started(tmp_path):
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=0, num_envs_per_worker=2)
    config.training(train_batch_size=100, model={"fcnet_hiddens": [8]}).debugging(seed=1)
    with config.build(results=tmp_path, name="run") as algo:
        algo.train()
        path = algo.save()
        learned = algo.get_policy().get_weights()
        acts = [algo.compute_single_action(np.full(4, x, np.float32)) for x in (-0.2, 0.2)]
        scored = algo.evaluate(episodes=3)
    for wrong in (-1, "two"):
        with pytest.raises(ConfigError, match=f"^num_workers: {wrong!r} is not accepted"):
            Algorithm.from_checkpoint(path, num_workers=wrong)
    with Algorithm.from_checkpoint(path, results=tmp_path, name="one", num_workers=1) as again:
        policy = again.get_policy()
        np.testing.assert_equal(policy.get_weights(), learned)
        found = [again.compute_single_action(np.full(4, x, np.float32)) for x in (-0.2, 0.2)]
        assert found == acts and again.evaluate(episodes=3) == scored
        assert again.training_iteration == 1
        assert [row["pid"] for row in again.status()] == [None, None]
        assert strays.of_run(again.run_id) == []
        assert again.train()["training_iteration"] == 2
        assert len(strays.of_run(again.run_id)) >= 3, "the agent, the worker, the learner"
        now = policy.get_weights()  # of the policy that was asked for before
        assert any((now[name] != learned[name]).any() for name in learned)


@pytest.mark.parametrize("first", ["set_weights", "save", "foreach_worker"])
def test_whatever_needs_the_actors_of_a_loaded_checkpoint_starts_them_with_its_state(
    tmp_path, first
):
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=0, num_envs_per_worker=2)
    with config.training(train_batch_size=100).build(results=tmp_path, name="run") as algo:
        algo.train()
        path, weights = algo.save(), algo.get_policy().get_weights()
    with Algorithm.from_checkpoint(path, results=tmp_path, name="again") as again:
        if first == "set_weights":
            weights = {name: array * 0.5 for name, array in weights.items()}
            again.get_policy().set_weights(weights)
        elif first == "save":
            again.save()
        found = again.foreach_worker(lambda worker: worker.get_policy().get_weights())
        np.testing.assert_equal(found, [weights, weights])
        assert again.pause()["num_updates"] == 1


def test_a_learner_that_dies_before_the_first_recovery_checkpoint_goes_on_from_the_loaded_one(
    tmp_path,
):
    """What its successor would read."""
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=0, num_envs_per_worker=2)
    with config.training(train_batch_size=100).build(results=tmp_path, name="run") as algo:
        algo.train()
        path, state = algo.save(), algo.get_state()
        algo.train()
        algo.restore(path)
        assert newest_learner_state(algo.run_folder).state["num_updates"] == 1
    with Algorithm.from_checkpoint(path, results=tmp_path, name="again") as again:
        again.compute_single_action(np.zeros(4, np.float32))
        assert newest_learner_state(again.run_folder).state is None, "nothing is started"
        again.workers.local_worker()
        found = newest_learner_state(again.run_folder).state
    assert found["num_updates"] == 1
    np.testing.assert_array_equal(found["weights"], state["learner"]["weights"])


def test_a_loaded_checkpoint_that_was_stopped_starts_nothing_any_more(tmp_path):
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=0, num_envs_per_worker=2)
    with config.training(train_batch_size=100).build(results=tmp_path, name="run") as algo:
        algo.train()
        path = algo.save()
    again = Algorithm.from_checkpoint(path, results=tmp_path, name="again")
    assert again.stop() == []
    with pytest.raises(RunFailed, match="was stopped"):
        again.train()
