"""How long until the first training result, and what does an idle runtime take?

Seconds from the command to the first row of result.json (budget 4 s), beside the bare import of
torch; memory (PSS) of a runtime with two counter actors beside idle Ray (budget a fifth).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from actorrl.runtime.cluster import Cluster
from actorrl.runtime.examples.counter import Counter
from actorrl.runtime.program import Program
from benchmarks.harness import launching, usage
from benchmarks.harness.pairing import Case, Sample, Side, Window
from benchmarks.peers import peer

_LIMIT_S = 60.0
_SETTLE_S = 2.0


def cases(peers: bool) -> list[Case]:
    found = [
        Case(f"first result, {algo}", "s", _first(algo), _import_torch(), "ours <= 4")
        for algo in ("IMPALA", "APEX", "PPO")
    ]
    if peers:
        found += [_idle_case("Ray 2.6.3", "ray263", "<= 0.2"), _idle_case("newest Ray", "raynew")]
    return found


def _idle_case(label: str, environment: str, bar: str = "") -> Case:
    ray = peer.side(label, environment, "ray_idle.py", "idle")
    name = f"idle, two counters, {label}"
    # apart: an open peer is a child of this process
    return Case(name, "MiB", _idle(), ray, bar, pairs=1, together=False)


def _first(algo: str) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        yield lambda: Sample(_first_result_s(algo))

    return Side("actorrl", opened)


def _first_result_s(algo: str) -> float:
    with tempfile.TemporaryDirectory() as results:
        words, row = launching.command(algo, "CartPole-v1", results)
        started = time.monotonic()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (row.exists() and row.stat().st_size):
            if time.monotonic() - started > _LIMIT_S or process.poll() is not None:
                raise RuntimeError(f"{algo}: no result within {_LIMIT_S:g} s")
            time.sleep(0.01)
        seconds = time.monotonic() - started
        process.terminate()
        process.wait(_LIMIT_S)
        return seconds


def _import_torch() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        def window() -> Sample:
            started = time.monotonic()
            subprocess.run([sys.executable, "-c", "import torch"], check=True)
            return Sample(time.monotonic() - started)

        yield window

    return Side("import torch", opened)


def _idle() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        program = Program("idle")
        program.add_group("counter", Counter, count=2)
        before = usage.of_tree(os.getpid()).pss_mib
        with Cluster(program):

            def window() -> Sample:
                time.sleep(_SETTLE_S)
                return Sample(usage.of_tree(os.getpid()).pss_mib - before)

            yield window

    return Side("actorrl", opened)
