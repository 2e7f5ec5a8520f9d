"""Processes of a run are known by the run's id in their environment, and by nothing else."""

from __future__ import annotations

import os
import subprocess

from actorrl.cli import processes


def test_only_processes_with_the_id_are_found_and_killed() -> None:
    def start(run_id: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "60"], env={**os.environ, "ACTORRL_RUN_ID": run_id})

    mine, other = start("run-a-of-test-processes"), start("run-b-of-test-processes")
    try:
        found = processes.of_run("run-a-of-test-processes")
        assert [process.pid for process in found] == [mine.pid]
        processes.kill(found)
        assert mine.wait(timeout=10) == -9
        assert processes.of_run("run-a-of-test-processes") == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_run_without_an_id_has_no_processes() -> None:
    assert processes.of_run(None) == []
