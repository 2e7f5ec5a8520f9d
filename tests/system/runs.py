"""Runs as a user starts them: the command line in a process of its own, and what it leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
ACTORRL = [sys.executable, "-m", "actorrl"]
PATIENCE_S = 60.0  # for what takes seconds on an idle machine


def environment(home: Path) -> dict[str, str]:
    """A home of its own: nothing of the user's is touched, and no other run is seen."""
    kept = {k: v for k, v in os.environ.items() if k not in ("XDG_STATE_HOME", "ACTORRL_RUN_ID")}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**kept, "HOME": str(home), "PYTHONPATH": path}


def actorrl(*words: str, home: Path, timeout: float = 110) -> subprocess.CompletedProcess[str]:
    """A command from beginning to end."""
    return subprocess.run(
        [*ACTORRL, *words],
        capture_output=True,
        text=True,
        cwd=home,
        env=environment(home),
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


class Run:
    """A launch that goes on in the background."""

    def __init__(self, process: subprocess.Popen[str], home: Path, name: str) -> None:
        self.process = process
        self.home = home
        self.folder = home / "results" / name

    @property
    def status(self) -> dict[str, Any]:
        """status.json as it is now; {} before it is written."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
            return found
        except (OSError, ValueError):
            return {}

    def rows(self) -> list[dict[str, Any]]:
        return rows_in(self.folder)

    def events(self) -> list[dict[str, Any]]:
        text = (self.folder / "events.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def pids(self) -> dict[str, int | None]:
        return {row["name"]: row["pid"] for row in self.status["actors"]}

    def run_id(self) -> str:
        return str(self.status["run_id"])

    def wait_for(self, condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        wait_for(condition, seconds, lambda: self.process.poll() is None or condition())

    def wait_for_rows(self, count: int) -> None:
        self.wait_for(lambda: len(self.rows()) >= count)

    def end(self, number: signal.Signals, seconds: float = PATIENCE_S) -> int:
        """Send a signal to the driver; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=seconds)

    def output(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.read()


@contextmanager
def launched(*words: str, home: Path, name: str = "run") -> Iterator[Run]:
    """`actorrl launch` until the end of the block; whatever is left of it is then killed."""
    command = [*ACTORRL, "launch", *words, "--name", name, "--results", "results", "--quiet"]
    process = subprocess.Popen(
        command,
        cwd=home,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    run = Run(process, home, name)
    try:
        yield run
    finally:
        run_id = run.status.get("run_id")
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        if run_id is not None:
            see_off(run_id)


def see_off(run_id: str) -> None:
    """Let the processes of a run whose driver is gone end and tidy up; kill what does not."""
    with suppress(AssertionError):
        wait_for(lambda: not processes_of(run_id), 10)
    for left in processes_of(run_id):
        with suppress(psutil.Error):  # it may have ended by itself meanwhile
            left.kill()


def rows_in(folder: Path) -> list[dict[str, Any]]:
    """Whole lines of result.json."""
    try:
        lines = (folder / "result.json").read_text().split("\n")[:-1]
    except OSError:
        return []
    return [json.loads(line) for line in lines]


def processes_of(run_id: str) -> list[psutil.Process]:
    """All live processes that carry the run's id."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get("ACTORRL_RUN_ID") == run_id
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def traces_of(run_id: str) -> list[str]:
    """Socket directories and named shared memory of a run."""
    places = [Path("/tmp") / f"actorrl-{os.getuid()}" / run_id]
    named = Path("/dev/shm").glob(f"*{run_id}*") if Path("/dev/shm").is_dir() else ()
    return [str(path) for path in (*places, *named) if path.exists()]


def wait_for(
    condition: Callable[[], bool], seconds: float, alive: Callable[[], bool] = lambda: True
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert alive(), "the run ended before that"
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.05)
