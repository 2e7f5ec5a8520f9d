"""How many seconds from the command to a mean reward of 475 on CartPole-v1?

The clock runs from the start of the process, three seeds, mean of the last 100 episodes. PPO
against Stable-Baselines3's PPO with the Zoo's settings, and the settings of `end_to_end`, which are
set for throughput, against the same peers with theirs, where a step size that nobody set is each
one's own (budget: fewer seconds, seed by seed). Whoever has not scored after 5 minutes counts as 5
minutes.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import end_to_end
from benchmarks.harness import commands, launching
from benchmarks.harness.pairing import Case, Sample, Side, Window
from benchmarks.peers import setup

_GOAL = 475
_LIMIT_S = 300.0
_SEEDS = (201, 202, 203)

Command = Callable[[int, str], tuple[list[str], Path]]  # of a seed and a folder: words, rows
# env steps and mean reward of the newest line; raises OSError, ValueError, IndexError without one
Newest = Callable[[Path], tuple[float, float]]


def cases(peers: bool) -> list[Case]:
    if not peers:
        return [_case("PPO", _ours("PPO"), _ours("A2C"))]
    factory = end_to_end.sample_factorys_command("cartpole")
    rllib = end_to_end.rllibs_command("a3c", "cartpole")
    impala = _throughput("IMPALA", end_to_end.SAMPLE_FACTORYS)
    a3c = _throughput("A3C", end_to_end.A3CS)
    return [
        _case("PPO", _ours("PPO"), _sb3(), "< 1"),
        _case("IMPALA for throughput", impala, _peer("Sample Factory", factory), "< 1"),
        _case("A3C for throughput", a3c, _peer("RLlib 2.6.3", rllib), "< 1"),
    ]


def _case(name: str, ours: Side, other: Side, bar: str = "") -> Case:
    return Case(f"{name} to {_GOAL}, {other.name}", "s", ours, other, bar, "", 3, together=False)


def _timed(name: str, command: Command, newest: Newest) -> Side:
    seeds = itertools.cycle(_SEEDS)

    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        with tempfile.TemporaryDirectory() as folder:
            words, rows = command(next(seeds), folder)

            def window() -> Sample:
                started = time.monotonic()
                with (
                    open(Path(folder, "log"), "ab") as log,
                    commands.running(words, log) as process,
                ):
                    steps = _steps_to_goal(rows, newest, process, started)
                    seconds = _LIMIT_S if steps is None else time.monotonic() - started
                more = {} if steps is None else {"env_steps": steps}
                return Sample(seconds, more)

            yield window

    return Side(name, opened)


def _steps_to_goal(
    rows: Path, newest: Newest, process: subprocess.Popen[bytes], started: float
) -> float | None:
    """Env steps until the goal; None if it took too long."""
    while time.monotonic() - started < _LIMIT_S:
        with contextlib.suppress(OSError, ValueError, IndexError):
            steps, mean = newest(rows)
            if mean >= _GOAL:
                return steps
        if process.poll() not in (None, 0):
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        time.sleep(0.05)
    return None


def _of_row(rows: Path) -> tuple[float, float]:
    row = launching.newest_row(rows)
    return row["timesteps_total"], row["episode_reward_mean"] or 0.0


def _of_line(rows: Path) -> tuple[float, float]:
    """Of `SECONDS STEPS MEAN` lines; an average of nothing is no number, which reaches no goal."""
    _, steps, mean = rows.read_text().splitlines()[-1].split()
    return float(steps), float(mean)


# ---- ours -----------------------------------------------------------------------------------


def _ours(algo: str) -> Side:
    def command(seed: int, folder: str) -> tuple[list[str], Path]:
        return launching.command(algo, "CartPole-v1", folder, "--seed", str(seed))

    return _timed(f"actorrl {algo}", command, _of_row)


def _throughput(algo: str, settings: list[str]) -> Side:
    def command(seed: int, folder: str) -> tuple[list[str], Path]:
        seeded = ("--seed", str(seed))
        return end_to_end.throughput_command(algo, "cartpole", settings, folder, *seeded)

    return _timed(f"actorrl {algo}", command, _of_row)


# ---- the others -----------------------------------------------------------------------------


def _peer(name: str, unseeded: end_to_end.Command) -> Side:
    def command(seed: int, folder: str) -> tuple[list[str], Path]:
        words, rows = unseeded(folder)
        return [*words, "--seed", str(seed)], rows

    return _timed(name, command, _of_line)


def _sb3() -> Side:
    script = Path(__file__).parent / "peers" / "sb3_ppo.py"

    def command(seed: int, folder: str) -> tuple[list[str], Path]:
        rows = Path(folder) / "rows"
        return [str(setup.python("sb3")), str(script), str(seed), str(rows)], rows

    return _timed("SB3 PPO, Zoo's settings", command, _of_row)
