"""The directory of a run's sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorrl.errors import RunFailed
from actorrl.runtime import run_directory, strays


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where run directories are made; short, since paths of sockets are limited."""
    with tempfile.TemporaryDirectory(prefix="rd") as short:
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield Path(short) / f"actorrl-{os.getuid()}"
        while run_directory._held:
            os.close(run_directory._held.popitem()[1])


def test_only_its_user_can_enter_it(base: Path) -> None:
    path = run_directory.make("run1", ["rollout/0"])
    assert path == base / "run1"
    assert path.stat().st_mode & 0o777 == 0o700 and base.stat().st_mode & 0o777 == 0o700


def test_a_second_run_of_the_same_id_is_refused(base: Path) -> None:
    run_directory.make("run1", [])
    with pytest.raises(RunFailed, match="another run has the same id"):
        run_directory.make("run1", [])


def as_after_a_kill(path: Path) -> None:
    """The kernel has taken its lock back."""
    os.close(run_directory._held.pop(path))


def make_old(run_id: str) -> Path:
    path = run_directory.make(run_id, [])
    (path / "agent").touch()
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    return path


def test_what_killed_runs_have_left_is_removed_and_young_runs_stay(base: Path) -> None:
    old, young = make_old("old"), run_directory.make("young", [])
    for path in (old, young):
        as_after_a_kill(path)
    run_directory.make("next", [])
    assert not old.exists() and young.exists()


def test_a_live_run_keeps_its_directory_while_no_process_carries_its_id(base: Path) -> None:
    """As when its agent is being started again, or its processes are in another container."""
    old = make_old("old")
    assert strays.of_run("old") == []
    run_directory.make("next", [])
    assert (old / "agent").exists()
    run_directory.remove(old)
    assert not old.exists() and old not in run_directory._held


def test_an_agent_removes_what_its_killed_predecessor_left_and_not_what_others_have(
    base: Path,
) -> None:
    run_directory.make("run1", [])
    killed, other = (run_directory.make_another("run1", []) for _ in range(2))
    as_after_a_kill(killed)
    successor = run_directory.make_another("run1", [])
    assert {path.name for path in base.iterdir()} == {"run1", other.name, successor.name}


def test_another_process_sees_the_lock_and_it_goes_with_its_process(base: Path) -> None:
    path = make_old("old")
    code = "import sys; from actorrl.runtime import run_directory as r; r.make(sys.argv[1], [])"
    environment = {**os.environ, "TMPDIR": str(base.parent)}
    subprocess.run([sys.executable, "-c", code, "second"], check=True, env=environment)
    assert path.exists()
    long_ago = time.time() - 3600
    os.utime(base / "second", (long_ago, long_ago))
    run_directory.make("third", [])
    assert not (base / "second").exists()
