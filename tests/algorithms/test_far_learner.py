"""A learner on another host, where the run folder is not: whatever the driver asks of it after it
was started again, it has got its checkpoint first."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np

from actorrl.algorithms import restoring
from actorrl.algorithms.a2c import A2CConfig
from actorrl.experiment.checkpoints import read_checkpoint
from actorrl.experiment.run_folder import RunFolder
from actorrl.roles.settings import ELSEWHERE, Recovery


def elsewhere(folder: str) -> Recovery:
    """What it finds there."""
    return ELSEWHERE


def learner_of(path: str) -> dict:
    return read_checkpoint(path)["learner"]


def test_a_far_learner_that_died_between_two_trains_goes_on_from_its_checkpoint(
    tmp_path: Path, monkeypatch
) -> None:
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=1, num_envs_per_worker=2)
    with monkeypatch.context() as patch:  # as on another host; the driver finds the folder
        patch.setattr(restoring, "newest_learner_state", elsewhere)
        algo = config.training(train_batch_size=100).build(results=tmp_path, name="run")
    with algo:
        for _ in range(3):
            algo.train()
        before = learner_of(saved := algo.save())
        newest = algo._run.cluster.block_reader("weights")
        version, epoch = newest.version, newest.epoch
        (learner,) = [row for row in algo.status() if row["name"] == "learner/0"]
        os.kill(learner["pid"], signal.SIGKILL)
        after = learner_of(algo.save())
        assert after["num_updates"] == before["num_updates"] == 3
        np.testing.assert_array_equal(after["weights"], before["weights"])
        assert newest.version == version + 1, "nothing was published in between"
        assert newest.epoch > epoch
        assert algo.train()["timesteps_total"] > before["timesteps_total"]
    events = RunFolder.open(tmp_path / "run").read_events()
    (told,) = [event for event in events if event["kind"] == "learner_recovered"]
    assert (told["checkpoint"], told["num_updates"]) == (saved, 3)
    assert told["updates_lost"] == 0
