"""A running command as one side of a case: wait until it counts, let it warm up, then take a window
of its counter."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from benchmarks.harness import usage
from benchmarks.harness.pairing import Sample, Window

_POLL_S = 0.1
_START_LIMIT_S = 180.0
_STILL_LIMIT_S = 120.0  # the slowest counters are lines that a peer prints every few seconds
_END_S = 20.0

# (seconds on any steady clock, how much was counted until then), or None before the first count
Counter = Callable[[], tuple[float, float] | None]


@contextlib.contextmanager
def counting(
    words: list[str],
    counter: Counter,
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    totals: Callable[[], dict[str, float]] = dict,
    warmup_s: float = 8.0,
    window_s: float = 20.0,
) -> Iterator[Window]:
    """Counts per second of a command. The counter is the receiver's own; both ends of the window
    are its readings, with their own times, so a counter that moves in jumps loses nothing. Of
    `totals`, read at both ends, the differences are kept beside it."""
    with open(log, "ab") as output, running(words, output, env) as process:

        def window() -> Sample:
            _wait_for_count(process, counter, log)
            time.sleep(warmup_s)
            first = _next(counter, process, log)  # only then the rest: it may take a while to come
            before, totals_before = usage.of_tree(process.pid, memory=False), totals()
            time.sleep(window_s)
            last = _next(counter, process, log)
            seen = usage.of_tree(process.pid).since(before)
            seconds, count = last[0] - first[0], last[1] - first[1]
            more = {"cpu_s_per_1000": seen["cpu_s"] / max(count, 1) * 1000, **seen}
            more |= {name: value - totals_before[name] for name, value in totals().items()}
            return Sample(count / seconds, {**more, "seconds": seconds, "count": count})

        yield window


@contextlib.contextmanager
def running(
    words: list[str], output: IO[bytes], env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, ended with everything below it."""
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process
    finally:
        below = usage.tree(process.pid)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
        for one in below:
            with contextlib.suppress(Exception):
                one.kill()
        process.wait()


def _wait_for_count(process: subprocess.Popen[bytes], counter: Counter, log: Path) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while counter() is None:
        _check(process, log)
        if time.monotonic() > deadline:
            raise RuntimeError(f"nothing counted within {_START_LIMIT_S:g} s, see {log}")
        time.sleep(_POLL_S)


def _next(counter: Counter, process: subprocess.Popen[bytes], log: Path) -> tuple[float, float]:
    """The next new reading, so that both ends of a window are at a change. Raises RuntimeError if
    the command is gone, or counts nothing more."""
    now, deadline = counter(), time.monotonic() + _STILL_LIMIT_S
    while (reading := counter()) == now:
        _check(process, log)
        if time.monotonic() > deadline:
            raise RuntimeError(f"still at {now} after {_STILL_LIMIT_S:g} s, see {log}")
        time.sleep(_POLL_S / 5)
    assert reading is not None
    return reading


def _check(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        tail = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{process.args!r} ended with {process.returncode}:\n{tail}")
