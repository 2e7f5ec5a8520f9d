"""What a run leaves in its folder while nothing happens that would be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actorrl.algorithms import run_record
from actorrl.algorithms.pg import PGConfig
from actorrl.algorithms.run_record import RunName, RunRecord
from actorrl.experiment.run_folder import RunFolder


def test_a_driver_that_waits_gives_a_sign_of_life_every_ten_seconds(tmp_path: Path) -> None:
    record = RunRecord(RunFolder.create(tmp_path, "run"), RunName("id", "PG", "CartPole-v1"), None)
    record.write_status("running", 1, 100, [])
    status, given = record.folder.path / "status.json", []
    for now in range(100, 131):  # a clock of whole seconds
        os.utime(status, (1000.0, 1000.0))
        record.sign_of_life(float(now))
        given += [now] if status.stat().st_mtime > 1000.0 else []
    assert given == [100, 110, 120, 130]


def test_an_iteration_gives_signs_of_life_while_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[RunFolder] = []
    monkeypatch.setattr(run_record, "SIGN_OF_LIFE_S", 0.0)
    monkeypatch.setattr(RunFolder, "touch_status", lambda folder: given.append(folder))
    config = PGConfig().environment("CartPole-v1").rollouts(num_workers=0)
    with config.build(results=tmp_path, name="run") as algo:
        assert given == []
        algo.train()
    assert given
