"""Failpoints: what the variable may say, and that a process fails just there, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from actorrl import failpoints

ROOT = Path(__file__).parents[1]
PASS = """
from actorrl import failpoints
for number in range(5):
    if failpoints.ACTIVE:
        failpoints.reach("learner.before_publish")
    print(number, flush=True)
"""


def passes(folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """A process that passes one point five times."""
    if folder is not None:
        variables["ACTORRL_FAILPOINTS_ONCE"] = str(folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-c", PASS], env=environment, capture_output=True, text=True, timeout=60
    )


def test_without_the_variable_nothing_is_active():
    assert not failpoints.ACTIVE
    assert passes(ACTORRL_FAILPOINTS="").stdout.split() == list("01234")


def test_the_points_are_those_that_the_code_passes():
    used = set()
    for file in (ROOT / "actorrl").rglob("*.py"):
        if file.name != "failpoints.py":
            used |= {
                line.split('"')[1]
                for line in file.read_text().splitlines()
                if "failpoints.reach(" in line
            }
    assert used == set(failpoints.POINTS)


@pytest.mark.parametrize(
    ("action", "code"), [("kill@3", -signal.SIGKILL), ("raise@3", 1), ("full@3", 1)]
)
def test_a_process_fails_at_the_passing_that_was_said(action, code):
    done = passes(ACTORRL_FAILPOINTS=f"shard.mid_insert=kill, learner.before_publish={action}")
    assert done.returncode == code and done.stdout.split() == ["0", "1"]
    if action == "full@3":
        assert "No space left on device" in done.stderr


def test_a_process_goes_on_after_a_sleep():
    done = passes(ACTORRL_FAILPOINTS="learner.before_publish=sleep:0.01")
    assert done.stdout.split() == list("01234")


def test_once_means_once_in_all_processes(tmp_path):
    plan = "learner.before_publish=kill@2"
    assert passes(tmp_path, ACTORRL_FAILPOINTS=plan).returncode == -signal.SIGKILL
    moment, pid = (tmp_path / "learner.before_publish").read_text().split()
    assert float(moment) > 0 and int(pid) > 0
    assert passes(tmp_path, ACTORRL_FAILPOINTS=plan).returncode == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learner.befor_publish=kill", "no point 'learner.befor_publish', there are"),
        ("learner.before_publish=explode", "is not POINT=ACTION"),
        ("learner.before_publish", "is not POINT=ACTION"),
        ("learner.before_publish=kill@x", "is not POINT=ACTION"),
    ],
)
def test_what_does_not_exist_is_said(text, says):
    with pytest.raises(failpoints.FailpointError, match=says):
        failpoints.parse(text)
