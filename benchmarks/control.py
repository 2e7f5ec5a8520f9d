"""What does a worker cost that does nothing?

CPU of driver, agent and actors for heartbeats, metrics and watching, while W actors stand still; in
ms per second and worker. Budget: one core for a thousand.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from actorrl.runtime.cluster import Cluster
from actorrl.runtime.examples.counter import Counter
from actorrl.runtime.program import Program
from benchmarks.harness import usage
from benchmarks.harness.pairing import Case, Sample, Side, Window

_WORKERS = (1, 16, 64, 128)
_WINDOW_S = 20.0
_SETTLE_S = 3.0
_BUDGET_MS = 1.0  # per second and worker


def cases(peers: bool) -> list[Case]:
    return [
        Case(
            f"{workers} workers at rest",
            "ms of CPU per s and worker",
            _at_rest(workers),
            _a_core_for_a_thousand(),
            "<= 1" if workers >= 16 else "",
            pairs=1,
            together=False,
        )
        for workers in _WORKERS
    ]


def _at_rest(workers: int) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        program = Program("control")
        program.add_group("counter", Counter, count=workers)
        with Cluster(program):
            time.sleep(_SETTLE_S)
            yield lambda: _window(workers)

    return Side("actorrl", opened)


def _window(workers: int) -> Sample:
    before, started = usage.of_tree(os.getpid(), memory=False), time.monotonic()
    time.sleep(_WINDOW_S)
    seconds = time.monotonic() - started
    seen = usage.of_tree(os.getpid()).since(before)
    return Sample(seen["cpu_s"] * 1000 / seconds / workers, seen)


def _a_core_for_a_thousand() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        yield lambda: Sample(_BUDGET_MS)

    return Side("a core for 1,000", opened)
