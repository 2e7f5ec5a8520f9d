"""A disk that is full: what was written stays whole, the message is clear, and the run goes on or
can be gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.resuming import resume
from actorrl.errors import CheckpointError, RunFailed
from actorrl.experiment.checkpoints import newest_whole, read_checkpoint
from actorrl.experiment.run_folder import RunFolder
from actorrl.experiment.state_files import append_line, read_json_lines
from tests.faults.measures import Measure

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("may not mount here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return filler


def test_half_a_line_is_an_error_and_goes_with_the_next_one(small_disk):
    lines = small_disk / "lines.jsonl"
    append_line(lines, '{"a": 1}\n')
    filler = fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        append_line(lines, json.dumps({"long": "x" * 9000}) + "\n")
    assert read_json_lines(lines) == [{"a": 1}]
    filler.unlink()
    append_line(lines, '{"a": 2}\n')
    assert read_json_lines(lines) == [{"a": 1}, {"a": 2}]


def test_a_run_on_a_full_disk_keeps_its_checkpoint_says_why_it_ends_and_can_be_resumed(small_disk):
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=0, num_envs_per_worker=2)
    config.training(train_batch_size=100)
    with config.build(results=small_disk, name="run") as algo:
        algo.train()
        kept = Path(algo.save())
        state = read_checkpoint(kept)
        filler, moment = fill(small_disk), time.time()
        with pytest.raises(CheckpointError, match=r"No space left.*earlier ones are kept"):
            algo.save()
        algo._run.record.save_recovery(
            algo._run.state(), algo._about()
        )  # due in the middle of a run: it goes on
        with pytest.raises(RunFailed, match=r"No space left.*actorrl resume /.*run"):
            for _ in range(200):  # the last page of a file may have room for some rows
                algo.train()
        told_s = time.time() - moment
    folder = RunFolder.open(small_disk / "run")
    assert newest_whole(folder) == kept
    assert read_checkpoint(kept)["training_iteration"] == state["training_iteration"]
    filler.unlink()
    moment = time.time()
    algo = resume(folder)
    try:
        assert algo.train()["training_iteration"] == state["training_iteration"] + 1
        note = "checkpoints fail at once and the run goes on; it ends when a row has no room;"
        note += " `actorrl resume` with room again: learns"
        Measure("disk full", "driver", told_s, None, time.time() - moment, note=note).keep()
    finally:
        algo.stop()
