"""Copies of a run folder: complete, without what is half-written, never in training's way."""

from __future__ import annotations

import re
import shutil
import stat
import threading
from pathlib import Path

import pytest

from actorrl.errors import ConfigError
from actorrl.experiment.upload import Uploader


def test_a_folder_is_copied_and_what_is_new_follows(tmp_path: Path) -> None:
    run, there = tmp_path / "run", tmp_path / "there"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / ".half").write_text("no")
    (run / "result.json").write_text("1\n")
    uploader = Uploader(run, there)
    uploader.upload_soon()
    (run / "result.json").write_text("1\n2\n")
    (run / "checkpoints" / "whole").write_text("yes")
    assert uploader.finish()
    assert (there / "run" / "result.json").read_text() == "1\n2\n"
    assert [p.name for p in (there / "run" / "checkpoints").iterdir()] == ["whole"]


def minutes_of_recovery(run: Path, there: Path) -> None:
    """Two recovery checkpoints are kept, and a checkpoint is removed, as --keep does."""
    run.mkdir()
    for number in range(1, 5):
        for name in (f"recovery/recovery_{number}", f"checkpoints/checkpoint_{number}"):
            (run / name).mkdir(parents=True)
            (run / name / "manifest.json").write_text(name)
        if number > 2:
            shutil.rmtree(run / "recovery" / f"recovery_{number - 2}")
            shutil.rmtree(run / "checkpoints" / f"checkpoint_{number - 2}")
        assert Uploader(run, there).finish()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_copy_has_the_recovery_checkpoints_of_the_run_and_keeps_all_others(
    tmp_path: Path,
) -> None:
    run, there = tmp_path / "run", tmp_path / "there" / "runs"
    minutes_of_recovery(run, there)
    copy = there / "run"
    assert names(copy / "recovery") == ["recovery_3", "recovery_4"]
    assert names(copy / "checkpoints") == [f"checkpoint_{i}" for i in (1, 2, 3, 4)]
    shutil.rmtree(run / "recovery")
    assert Uploader(run, there).finish()  # a run that has lost its own leaves those of its copy
    assert names(copy / "recovery") == ["recovery_3", "recovery_4"]


def test_a_copy_is_for_its_owner_alone(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / ".half").mkdir(parents=True)
    assert Uploader(run, tmp_path / "there").finish()
    assert stat.S_IMODE((tmp_path / "there" / "run").stat().st_mode) == 0o700
    assert names(tmp_path / "there" / "run") == []


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
def test_rsync_copies_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a folder, which needs no other host: only its name says that it is one."""
    monkeypatch.setattr("actorrl.experiment.upload._REMOTE", re.compile(".*"))
    run, there = tmp_path / "run", tmp_path / "there"
    minutes_of_recovery(run, there)
    assert names(there / "run" / "recovery") == ["recovery_3", "recovery_4"]
    assert names(there / "run" / "checkpoints") == [f"checkpoint_{i}" for i in (1, 2, 3, 4)]


def test_a_function_of_the_users_may_be_slow_or_fail_and_nobody_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    started, may_go_on = threading.Event(), threading.Event()

    def slow(folder: str) -> None:
        seen.append(folder)
        started.set()
        assert may_go_on.wait(30)
        if len(seen) == 1:
            raise OSError("no way there")

    uploader = Uploader(tmp_path, slow)
    uploader.upload_soon()
    assert started.wait(30)
    for _ in range(5):
        uploader.upload_soon()  # returns at once, though none of the copies can end
    may_go_on.set()
    assert uploader.finish()
    assert 2 <= len(seen) <= 3 and set(seen) == {str(tmp_path)}
    assert "no way there" in caplog.text


def test_rsync_is_asked_for_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for target in ("store:/runs", "rsync://store/runs"):
        with pytest.raises(ConfigError, match="needs rsync, which is not installed"):
            Uploader(tmp_path, target)
