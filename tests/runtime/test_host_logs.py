"""Which logs of earlier runs an agent removes from its host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from actorrl.runtime import host_logs, strays
from actorrl.runtime.host_logs import KEPT, UNUSED_S
from tests.runtime.clusters import SLEEPER

NOW = 2_000_000_000.0
OWN = "f" * 16


def run_id(number: int) -> str:
    return f"{number:016x}"


def folder(logs: Path, name: str, age_s: float) -> Path:
    path = logs / name
    path.mkdir()
    (path / "rollout-0.log").write_text("said\n")
    os.utime(path, (NOW - age_s, NOW - age_s))
    return path


def names(logs: Path) -> list[str]:
    return sorted(path.name for path in logs.iterdir())


def test_old_ones_go_but_for_the_newest_few(tmp_path):
    own = folder(tmp_path, OWN, 0.0)
    for number in range(KEPT + 3):
        folder(tmp_path, run_id(number), UNUSED_S + 1 + number)
    host_logs.remove_old(own, NOW)
    assert names(tmp_path) == [*map(run_id, range(KEPT - 1)), OWN]


def test_those_of_late_stay_however_many(tmp_path):
    own = folder(tmp_path, OWN, 0.0)
    for number in range(KEPT + 3):
        folder(tmp_path, run_id(number), UNUSED_S - 10)
    before = names(tmp_path)
    host_logs.remove_old(own, NOW)
    assert names(tmp_path) == before


def test_what_is_no_runs_stays_and_so_does_that_of_a_run_that_goes_on(tmp_path):
    own = folder(tmp_path, OWN, UNUSED_S)
    for number in range(KEPT):
        folder(tmp_path, run_id(number), 0.0)
    alive = subprocess.Popen(SLEEPER, env={**os.environ, strays.RUN_ID_VARIABLE: run_id(99)})
    try:
        for name in ("mine", "2024", run_id(77)[1:], run_id(99)):
            folder(tmp_path, name, 2 * UNUSED_S)
        before = names(tmp_path)
        host_logs.remove_old(own, NOW)
        assert names(tmp_path) == before
    finally:
        alive.kill()
        alive.wait()


def test_beside_a_folder_that_is_not_named_as_a_run_nothing_is_touched(tmp_path):
    own = folder(tmp_path, "logs", 0.0)
    for number in range(KEPT + 3):
        folder(tmp_path, run_id(number), 2 * UNUSED_S)
    before = names(tmp_path)
    host_logs.remove_old(own, NOW)
    assert names(tmp_path) == before


def test_a_run_that_goes_on_says_so(tmp_path):
    own = folder(tmp_path, OWN, UNUSED_S)
    host_logs.touch(own, NOW)
    assert own.stat().st_mtime == NOW
    host_logs.touch(tmp_path / "gone", NOW)
