"""What tells other machines that a driver lives, however long nothing is written."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from actorrl.experiment import sign_of_life
from actorrl.experiment.ownership import REMOTE_SILENCE_S
from actorrl.experiment.run_folder import RunFolder
from actorrl.experiment.sign_of_life import SIGN_OF_LIFE_S, touch_until


class Clock:
    """The wait for an end that comes at `end`; no time passes."""

    def __init__(self, file: Path, end: float) -> None:
        self.now = 0.0
        self.end = end
        self.file = file
        self.touched_at: list[float] = []

    def wait(self, seconds: float) -> bool:
        if self.file.exists() and self.file.stat().st_mtime > 1000.0:
            self.touched_at.append(self.now)
            os.utime(self.file, (1000.0, 1000.0))
        if self.now == 20.0:
            self.file.write_text("status")
            os.utime(self.file, (1000.0, 1000.0))
        self.now += seconds
        return self.now >= self.end


def test_the_status_is_touched_every_ten_seconds_from_when_there_is_one(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "status.json", end=65.0)
    touch_until(clock.file, clock.wait)
    assert clock.touched_at == [30.0, 40.0, 50.0, 60.0]
    assert SIGN_OF_LIFE_S < REMOTE_SILENCE_S / 4, "a slow disk may miss a few"


def test_an_owner_gives_signs_of_life_until_it_releases_the_folder(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    touched = threading.Event()
    monkeypatch.setattr(sign_of_life, "SIGN_OF_LIFE_S", 0.001)
    monkeypatch.setattr(sign_of_life.os, "utime", lambda file: touched.set())
    before = threading.active_count()
    folder = RunFolder.create(tmp_path, "run")
    folder.acquire("first")
    folder.acquire("second")
    assert threading.active_count() == before + 1
    assert touched.wait(20.0)
    folder.release()
    assert threading.active_count() == before
