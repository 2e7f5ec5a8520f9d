"""Ctrl-C once, twice, three times. What ends the process is tried in a process of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest

from actorrl.cli import interrupts
from actorrl.cli.interrupts import Interrupted, Interrupts


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_before_training_a_signal_raises_at_once(number: int, code: int) -> None:
    with Interrupts() as held, pytest.raises(Interrupted):
        signal.raise_signal(number)
    assert held.exit_code == code


def test_the_iteration_in_progress_is_finished_and_no_other_begun() -> None:
    def iteration() -> str:
        signal.raise_signal(signal.SIGINT)
        return "row"

    with Interrupts() as held:
        assert held.call(iteration) == "row"
        with pytest.raises(Interrupted):
            held.call(iteration)


def test_an_iteration_that_takes_too_long_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "PATIENCE_S", 0.01)

    def endless() -> None:
        signal.raise_signal(signal.SIGINT)
        while True:
            signal.pause()

    with Interrupts() as held, pytest.raises(Interrupted):
        held.call(endless)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_an_environment_does_to_the_handlers_is_undone_before_each_iteration() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as held:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)
        held.call(lambda: signal.raise_signal(signal.SIGINT))
        assert held.requested == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handlers_of_before_come_back() -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == before


SCRIPT = """
import os, signal, sys
from actorrl.cli.interrupts import Interrupts
from actorrl.runtime import strays

with Interrupts() as held:
    held.run_id = "run-of-test-interrupts"
    def iteration():
        for _ in range(int(sys.argv[1])):
            signal.raise_signal(signal.SIGINT)
    if sys.argv[2] == "stubborn":
        # A kill that does nothing, and a third signal while it is waited for.
        strays.kill_others = lambda *of_run: signal.raise_signal(signal.SIGINT)
    held.call(iteration)
os.write(1, b"went on")
"""


def run_with_child(signals: int, kind: str) -> tuple[subprocess.CompletedProcess[str], int | None]:
    """Raise SIGINT so often in a process whose run has one child; how both ended."""
    environment = {**os.environ, "ACTORRL_RUN_ID": "run-of-test-interrupts"}
    child = subprocess.Popen(["sleep", "60"], env=environment, start_new_session=True)
    try:
        command = [sys.executable, "-c", SCRIPT, str(signals), kind]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        if signals > 1 and kind == "plain":
            child.wait(timeout=10)
        return done, child.poll()
    finally:
        child.kill()
        child.wait()


def test_once_goes_on_to_the_end() -> None:
    done, child = run_with_child(1, "plain")
    assert done.stdout == "went on" and child is None
    assert "stopping, with a checkpoint" in done.stderr


def test_twice_kills_the_processes_of_the_run() -> None:
    done, child = run_with_child(2, "plain")
    assert done.returncode == 130 and done.stdout == ""
    assert child == -signal.SIGKILL


def test_three_times_leaves_and_names_what_remains() -> None:
    done, child = run_with_child(2, "stubborn")
    assert done.returncode == 6 and child is None
    assert "these processes of the run may remain: " in done.stderr


def test_a_signal_counts_where_nobody_reads_what_is_said() -> None:
    """As with `2>&1 | tee FILE`, which the same Ctrl-C ends."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", SCRIPT, "1", "plain"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, timeout=30)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, b"went on")


def test_a_terminal_gets_its_cursor_back_where_the_live_table_has_no_end() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SCRIPT, "2", "plain"]
    done = subprocess.run(command, stdout=theirs, stderr=subprocess.DEVNULL, timeout=30)
    os.close(theirs)
    assert done.returncode == 130 and os.read(ours, 100) == b"\033[?25h"
    os.close(ours)
