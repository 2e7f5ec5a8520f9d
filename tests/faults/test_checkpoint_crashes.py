"""A process that dies between any two durable steps of a checkpoint: a whole one is always there.

A probe writes checkpoints 1 to 5 and is killed at a failpoint. After each it says that it is on
disk: what was said must be found again, or something newer.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from actorrl.experiment.checkpoints import CheckpointKeeper, newest_whole, read_checkpoint
from actorrl.experiment.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
WRITER = """
import sys
import numpy as np
from actorrl.errors import CheckpointError
from actorrl.experiment.checkpoints import CheckpointKeeper
from actorrl.experiment.run_folder import RunFolder

keeper = CheckpointKeeper(RunFolder.open(sys.argv[1]), keep=2)
for number in range(1, 6):
    state = {"number": number, "weights": np.full(5000, number, np.float32)}
    try:
        if sys.argv[2] == "recovery":
            keeper.save_recovery(state, {})
        else:
            keeper.save(number if sys.argv[2] == "kept" else 7, state, {})
        print(number, flush=True)
    except CheckpointError as error:
        print("refused:", error, flush=True)
"""
FILE_LIMIT = 12_000  # bytes: less than the arrays of one checkpoint


@pytest.fixture
def run(tmp_path, monkeypatch) -> RunFolder:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return RunFolder.create(tmp_path / "results", "run")


def write(
    run: RunFolder,
    kind: str,
    failpoints: str = "",
    before: Callable[[], None] | None = None,
) -> tuple[int, list[str]]:
    """Exit code of the probe, and what it said."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ACTORRL_FAILPOINTS": failpoints}
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(run.path), kind],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        preexec_fn=before,
    )
    return done.returncode, done.stdout.splitlines()


def check_whole(run: RunFolder, said: list[str]) -> None:
    """The newest is whole and at least what was said last; the next keeper goes on after it."""
    newest = newest_whole(run)
    assert newest is not None
    state = read_checkpoint(newest)
    assert state["number"] >= int(said[-1])
    np.testing.assert_array_equal(state["weights"], np.full(5000, state["number"], np.float32))
    keeper = CheckpointKeeper(run, keep=2)
    hidden = [p for folder in (run.checkpoints, run.recovery) for p in folder.glob(".*")]
    assert hidden == [], "what the crash left is gone"
    path = keeper.save_recovery({"number": 99}, {})
    assert newest_whole(run) == path


@pytest.mark.parametrize("kind", ["recovery", "same_name"])
@pytest.mark.parametrize(
    "point",
    [
        "after_file=kill@7",
        "after_file=kill@9",
        "after_tmp=kill@3",
        "after_rename=kill@3",
    ],
)
def test_a_crash_at_any_step_leaves_a_whole_checkpoint(run, kind, point):
    code, said = write(run, kind, f"checkpoint.{point}")
    assert code == -signal.SIGKILL and said == ["1", "2"]
    check_whole(run, said)


@pytest.mark.parametrize("kind", ["recovery", "kept"])
@pytest.mark.parametrize("passing", [1, 2])
def test_a_crash_while_an_old_one_is_removed_costs_nothing(run, kind, passing):
    code, said = write(run, kind, f"checkpoint.before_removal=kill@{passing}")
    assert code == -signal.SIGKILL and len(said) == passing + 1
    check_whole(run, said)


def test_a_crash_between_the_two_renames_costs_that_name_and_no_other(run):
    assert write(run, "recovery")[0] == 0
    code, _ = write(run, "same_name", "checkpoint.between_renames=kill@1")
    assert code == -signal.SIGKILL
    check_whole(run, ["5"])


@pytest.mark.parametrize("kind", ["recovery", "kept", "same_name"])
def test_a_disk_that_is_full_keeps_the_former_checkpoint_and_says_so(run, kind):
    code, said = write(run, kind, "checkpoint.after_file=full@5")
    assert code == 0 and said[0] == "1" and said[2:] == ["3", "4", "5"]
    assert "cannot be written (No space left on device); earlier ones are kept" in said[1]
    check_whole(run, ["5"])


def test_a_limit_on_file_sizes_keeps_the_former_checkpoint(run):
    first = CheckpointKeeper(run).save_recovery({"number": 0, "weights": np.zeros(5000)}, {})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))

    code, said = write(run, "recovery", before=limit)
    assert code == 0 and len(said) == 5
    assert all("cannot be written (File too large)" in line for line in said)
    assert newest_whole(run) == first


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_small_disk_that_fills_up_keeps_the_former_checkpoint(run):
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(run.recovery)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("may not mount here")
    try:
        # two are kept while the third is written: only the first two fit beside each other
        code, said = write(run, "recovery")
        assert code == 0 and said[:2] == ["1", "2"]
        assert all("No space left on device" in line for line in said[2:])
        newest = newest_whole(run)
        assert newest is not None and read_checkpoint(newest)["number"] == 2
    finally:
        subprocess.run(["umount", str(run.recovery)], check=True)
