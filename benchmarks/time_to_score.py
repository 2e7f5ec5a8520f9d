"""How many seconds from the command to a mean reward of 475 on CartPole-v1?

The clock runs from the start of the process, three seeds, mean of the last 100 episodes. PPO
against Stable-Baselines3's PPO with the Zoo's settings (budget: fewer seconds, seed by seed); the
throughput settings of IMPALA beside it.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import launching
from benchmarks.harness.pairing import Case, Sample, Side, Window
from benchmarks.peers import setup

_GOAL = 475
_LIMIT_S = 300.0
_SEEDS = (201, 202, 203)


def cases(peers: bool) -> list[Case]:
    other = _sb3() if peers else _ours("A2C")
    return [
        Case(f"{algo} to {_GOAL}, {other.name}", "s", _ours(algo), other, bar, "", 3, False)
        for algo, bar in (("PPO", "< 1"), ("IMPALA", ""))
    ]


def _timed(name: str, command: Callable[[int, str], tuple[list[str], Path]]) -> Side:
    """A command per seed that appends `SECONDS STEPS MEAN` lines, or rows of result.json."""
    seeds = itertools.cycle(_SEEDS)

    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        with tempfile.TemporaryDirectory() as folder:
            words, rows = command(next(seeds), folder)

            def window() -> Sample:
                started = time.monotonic()
                process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
                try:
                    steps = _wait_for_goal(rows, process, started)
                    return Sample(time.monotonic() - started, {"env_steps": steps})
                finally:
                    process.terminate()
                    process.wait(60)

            yield window

    return Side(name, opened)


def _wait_for_goal(rows: Path, process: subprocess.Popen[bytes], started: float) -> float:
    while time.monotonic() - started < _LIMIT_S:
        with contextlib.suppress(OSError, ValueError, IndexError):
            row = launching.newest_row(rows)
            if (row["episode_reward_mean"] or 0.0) >= _GOAL:
                return float(row["timesteps_total"])
        if process.poll() not in (None, 0):
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        time.sleep(0.05)
    raise RuntimeError(f"{process.args}: not {_GOAL} within {_LIMIT_S:g} s")


def _ours(algo: str) -> Side:
    def command(seed: int, folder: str) -> tuple[list[str], Path]:
        return launching.command(algo, "CartPole-v1", folder, "--seed", str(seed))

    return _timed("actorrl" if algo in ("PPO", "IMPALA") else f"actorrl {algo}", command)


def _sb3() -> Side:
    script = Path(__file__).parent / "peers" / "sb3_ppo.py"

    def command(seed: int, folder: str) -> tuple[list[str], Path]:
        rows = Path(folder) / "rows"
        return [str(setup.python("sb3")), str(script), str(seed), str(rows)], rows

    return _timed("SB3 PPO, Zoo's settings", command)
