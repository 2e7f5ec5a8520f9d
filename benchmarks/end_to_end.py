"""How many env steps per second does a whole run make, at equal work?

Same environment, network (Nature CNN, or 64-64), fragments and batch, number of workers and of
environments each, one pass over each sample; torch's threads as each system sets them (one in our
learner). Counted by the learner (ours) or printed by the peer's driver; a window of 20 s after the
warm-up. Sample Factory runs APPO, the peers' IMPALA as it is. CPU seconds are of all processes, per
1,000 env steps; under the table stand ours by phase (harness/phases.py).
"""

from __future__ import annotations

import contextlib
import functools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import commands, launching, phases
from benchmarks.harness.commands import Counter
from benchmarks.harness.pairing import Case, Sample, Side, Window
from benchmarks.peers import setup

_HERE = Path(__file__).parent
_WORKERS, _ENVS = 2, 8
_ENV = {"cartpole": "CartPole-v1", "pong": "ALE/Pong-v5"}
# what the peers of `benchmarks/peers` are set to. Whole fragments make a batch: with 50 rows of 8
# environments each, 500 asked for are 800, in RLlib as here.
_RLLIBS = ["train_batch_size=500", "rollout_fragment_length=50"]
SAMPLE_FACTORYS = ["train_batch_size=512", "rollout_fragment_length=32"]
A3CS = ["rollout_fragment_length=10"]
_APEXS = [
    "train_batch_size=512",
    "samples_per_insert=1.0",
    "num_replay_shards=1",
    "replay_capacity=50000",
    "learning_starts=2000",
]
_BF16 = [*SAMPLE_FACTORYS, "precision=bf16"]
_APEX_NOTE = (
    "ours held to 1.0 samples per insert, its frames kept compressed (LZ4, lossless); RLlib's"
    " learner is held by nothing"
)
_SF_NOTE = "Sample Factory: APPO, 2 splits, its own lr (1e-4)"


def cases(peers: bool) -> list[Case]:
    loops = [_beside_loop("cartpole"), _beside_loop("pong", "<= 1.05")]
    if not peers:
        return loops
    return [
        *loops,
        _case("IMPALA", "cartpole", SAMPLE_FACTORYS, sample_factory("cartpole"), ">= 7", _SF_NOTE),
        _case("IMPALA", "pong", SAMPLE_FACTORYS, sample_factory("pong"), ">= 1.25", _SF_NOTE),
        _case("IMPALA", "pong", _BF16, sample_factory("pong"), ">= 2", _SF_NOTE, "bf16"),
        _case("IMPALA", "cartpole", _RLLIBS, rllib("impala", "cartpole")),
        _case("IMPALA", "pong", _RLLIBS, rllib("impala", "pong"), ">= 1.6"),
        _case("APEX", "cartpole", _APEXS, rllib("apex", "cartpole"), "", _APEX_NOTE),
        _case("APEX", "pong", _APEXS, rllib("apex", "pong"), ">= 2, memory <= 1/5", _APEX_NOTE),
        _case("A3C", "cartpole", A3CS, rllib("a3c", "cartpole"), ">= 8"),
        _case("A3C", "pong", A3CS, rllib("a3c", "pong"), ">= 1.6"),
    ]


def _case(
    algo: str,
    env: str,
    settings: list[str],
    other: Side,
    bar: str = "",
    note: str = "",
    form: str = "",
) -> Case:
    name = f"{' '.join(filter(None, [algo, env, form]))}, {other.name}"
    side = _ours(algo, env, settings)
    return Case(name, "env steps/s", side, other, bar, note, pairs=3, together=False)


# ---- ours -----------------------------------------------------------------------------------


def throughput_command(
    algo: str, env: str, settings: list[str], results: str, *more: str
) -> tuple[list[str], Path]:
    """Our command line with the settings of these lines, for ever; and its rows."""
    words = [*more, "--workers", str(_WORKERS), "--stop", "timesteps_total=1000000000"]
    asked = [f"num_envs_per_worker={_ENVS}", *settings]
    return launching.command(algo, _ENV[env], results, *words, settings=asked)


def _ours(algo: str, env: str, settings: list[str]) -> Side:
    """Our command line, counted in its result.json."""

    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        with tempfile.TemporaryDirectory() as results:
            words, rows = throughput_command(algo, env, settings, results, "--seed", "1")
            counter, log = rows_counter(rows), Path(results) / "log"
            totals = functools.partial(_phases, rows)
            with commands.counting(words, counter, log=log, totals=totals) as window:
                yield window

    return Side("actorrl", opened)


def _phases(path: Path) -> dict[str, float]:
    return phases.of_row(launching.newest_row(path), _WORKERS)


def rows_counter(path: Path) -> Counter:
    """Time and env steps of the newest row."""

    def read() -> tuple[float, float] | None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            row = launching.newest_row(path)
            return row["time_total_s"], row["timesteps_total"]
        return None

    return read


# ---- the others -----------------------------------------------------------------------------


Command = Callable[[str], tuple[list[str], Path]]  # of a folder: the words, and the counts


def _peer(environment: str, script: str, *arguments: str) -> Command:
    """A driver of benchmarks/peers, which appends `SECONDS STEPS MEAN` to the file it is given."""

    def command(folder: str) -> tuple[list[str], Path]:
        counts = Path(folder) / "counts"
        words = [str(setup.python(environment)), str(_HERE / "peers" / script), *arguments]
        words += ["--counts", str(counts), "--workers", str(_WORKERS), "--envs", str(_ENVS)]
        return words, counts

    return command


def _counted(label: str, command: Command) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        with tempfile.TemporaryDirectory() as folder:
            words, counts = command(folder)
            counter = _lines_counter(counts)
            with commands.counting(words, counter, log=Path(folder) / "log") as window:
                yield window

    return Side(label, opened)


def _lines_counter(path: Path) -> Counter:
    def read() -> tuple[float, float] | None:
        with contextlib.suppress(OSError, ValueError, IndexError):
            seconds, steps = path.read_text().splitlines()[-1].split()[:2]
            return float(seconds), float(steps)
        return None

    return read


def sample_factorys_command(env: str) -> Command:
    return _peer("sf", "sf_appo.py", "--env", env)


def sample_factory(env: str) -> Side:
    return _counted("Sample Factory", sample_factorys_command(env))


def rllibs_command(algo: str, env: str) -> Command:
    return _peer("ray263", "rllib_263.py", "--algo", algo, "--env", env)


def rllib(algo: str, env: str) -> Side:
    return _counted("RLlib 2.6.3", rllibs_command(algo, env))


def _beside_loop(env: str, bar: str = "") -> Case:
    """Not by rate, which the loop makes on one core: by what an env step costs."""
    sides = (_by_cpu(_ours("IMPALA", env, _RLLIBS)), _by_cpu(_loop(env)))
    unit = "CPU s per 1,000 env steps"
    return Case(f"IMPALA {env}, one-process loop", unit, *sides, bar, pairs=3, together=False)


def _by_cpu(side: Side) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        with side.open() as window:

            def by_cpu() -> Sample:
                seen = window()
                more = {"env_steps_per_s": seen.value, **seen.more}
                return Sample(seen.more["cpu_s_per_1000"], more)

            yield by_cpu

    return Side(side.name, opened)


def _loop(env: str) -> Side:
    """The same calls in one process, one thread and one loop, without actors."""

    def command(folder: str) -> tuple[list[str], Path]:
        counts = Path(folder) / "counts"
        words = [sys.executable, "-m", "benchmarks.loop", "--counts", str(counts)]
        words += ["--env", _ENV[env], "--workers", str(_WORKERS), "--envs", str(_ENVS)]
        return words, counts

    return _counted("one-process loop", command)
