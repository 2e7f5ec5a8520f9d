"""How often is a byte of an observation copied between the environment and a training batch?

Counted by actorrl itself (see actorrl/copies.py), in whole runs on Pong.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator

from actorrl import copies
from benchmarks.harness import launching
from benchmarks.harness.pairing import Case, Sample, Side, Window

_BUDGET = 2.0
_LIMIT_S = 300.0
_SETTINGS = {
    "IMPALA": ["rollout_fragment_length=50", "train_batch_size=500"],
    "PPO": ["rollout_fragment_length=50", "train_batch_size=800", "num_sgd_iter=1"],
    "APEX": ["rollout_fragment_length=50", "learning_starts=1000", "replay_capacity=10000"],
}
_NOTES = {
    "IMPALA": "the observation behind a fragment's last row is in the next fragment too",
    "PPO": "the observation behind a fragment's last row is in the next fragment too",
    "APEX": "into replay's memory, and out of it for each batch that a row is drawn for",
}


def cases(peers: bool) -> list[Case]:
    unit = "copies of a byte"
    return [
        Case(f"{algo} pong", unit, _ours(algo), _two(), "ours <= 2", _NOTES[algo], 1, False)
        for algo in _SETTINGS
    ]


def _ours(algo: str) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        yield lambda: _counted(algo)

    return Side("actorrl", opened)


def _counted(algo: str) -> Sample:
    settings = ["num_envs_per_worker=8", *_SETTINGS[algo]]
    with tempfile.TemporaryDirectory() as results:
        more = ["--seed", "1", "--workers", "2", "--stop", "timesteps_total=20000"]
        words, rows = launching.command(algo, "ALE/Pong-v5", results, *more, settings=settings)
        counting = {**os.environ, copies.VARIABLE: "1"}
        done = subprocess.run(words, env=counting, capture_output=True, timeout=_LIMIT_S)
        if not rows.exists():
            raise RuntimeError(f"{algo} left no result: {done.stderr.decode()[-500:]}")
        found = launching.newest_row(rows)["info"]["copies"]
    ways = {name: float(times) for name, times in found.items() if name.startswith("times_")}
    return Sample(sum(ways.values()), ways)


def _two() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        yield lambda: Sample(_BUDGET)

    return Side("budget", opened)
