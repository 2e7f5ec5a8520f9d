"""A run that goes on in its folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import msgspec

from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.restoring import newest_learner_state
from actorrl.algorithms.resuming import resume
from actorrl.experiment import ownership
from actorrl.experiment.run_folder import RunFolder
from actorrl.experiment.state_files import write_json


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
    with (
        subprocess.Popen(["sleep", "1000"], env=marked, start_new_session=True) as stray,
        resume(RunFolder.open(tmp_path / "run")) as algo,
    ):
        assert stray.wait(10) == -signal.SIGKILL
        assert algo.train()["training_iteration"] == 2
