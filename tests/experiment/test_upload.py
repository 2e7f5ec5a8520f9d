"""Copies of a run folder: complete, without what is half-written, never in training's way."""

from __future__ import annotations

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
