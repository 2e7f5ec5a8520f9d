"""scripts/leftovers: what a test suite left is named, another's beside it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "leftovers"
OVER = "999999999-1"  # of a scripts/test that runs no more
SLEEPER = [sys.executable, "-c", "import time; time.sleep(1000)"]


def leftovers(*words: str, session: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ACTORRL_TEST_SESSION": session}
    command = [sys.executable, SCRIPT, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


@pytest.fixture
def session() -> str:
    """A suite's that goes on: its leader is this process."""
    return f"{os.getpid()}-{time.time_ns()}"


@pytest.fixture
def start() -> Iterator:
    """Start a process that belongs to a session."""
    started = []

    def start(session: str) -> int:
        environment = {**os.environ, "ACTORRL_TEST_SESSION": session}
        started.append(subprocess.Popen(SLEEPER, env=environment))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_what_is_new_and_of_this_suite_is_left_behind(tmp_path, session, start):
    before = tmp_path / "before"
    before.write_text(leftovers("snapshot", session=session).stdout)
    mine, other = start(session), start(f"{session}0")
    done = leftovers("compare", str(before), "0", session=session)
    assert done.returncode == 1  # whatever else this machine does meanwhile
    assert f"left behind: process {mine} " in done.stderr
    assert f"process {other} " not in done.stderr


def test_directories_that_multiprocessing_has_left_are_named(tmp_path, session, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = tmp_path / "before"
    before.write_text(leftovers("snapshot", session=session).stdout)
    (tmp_path / "pymp-x").mkdir()
    done = leftovers("compare", str(before), "0", session=session)
    assert f"left behind: directory {tmp_path}/pymp-x" in done.stderr


def test_what_a_suite_that_was_cut_off_has_left_is_named_with_the_way_to_remove_it(session, start):
    running, over = start(f"{os.getpid()}-{time.time_ns()}"), start(OVER)
    said = leftovers("stale", session=session).stderr
    assert f"process {over} " in said and f"(kill {over})" in said
    assert f"process {running} " not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a network namespace")
def test_a_namespace_that_nobody_is_in_any_more_is_named(session):
    name = f"arlleft{os.getpid()}"
    try:
        made = subprocess.run(["ip", "netns", "add", name], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no command `ip`")
    if made.returncode:
        pytest.skip("may not make one here")
    try:
        assert f"ip netns del {name}" in leftovers("stale", session=session).stderr
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)
