"""The directory of a run's sockets."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorrl.errors import RunFailed
from actorrl.runtime import run_directory


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where run directories are made; short, since paths of sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="rd") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield Path(short) / f"actorrl-{os.getuid()}"


def test_only_its_user_can_enter_it(base: Path) -> None:
    path = run_directory.make("run1", ["rollout/0"])
    assert path == base / "run1"
    assert path.stat().st_mode & 0o777 == 0o700 and base.stat().st_mode & 0o777 == 0o700


def test_a_second_run_of_the_same_id_is_refused(base: Path) -> None:
    run_directory.make("run1", [])
    with pytest.raises(RunFailed, match="another run has the same id"):
        run_directory.make("run1", [])


def test_what_killed_runs_have_left_is_removed_and_young_runs_stay(base: Path) -> None:
    old = run_directory.make("old", [])
    (old / "agent").touch()
    young = run_directory.make("young", [])
    long_ago = time.time() - 3600
    os.utime(old, (long_ago, long_ago))
    run_directory.make("next", [])
    assert not old.exists() and young.exists()
