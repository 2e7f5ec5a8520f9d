"""How many workers can one small machine keep busy when an environment only waits?

Each environment sleeps 10 ms a step (a simulator elsewhere), one environment a worker; the ideal is
the number of workers / 10 ms. Efficiency is measured / ideal (budget 0.95 at 128 workers of 10 ms
and 512 of 100 ms); beside it the CPU seconds of the whole run per 1,000 env steps. The workers are
actors that only wait and stream; "rollout workers" are whole runs of IMPALA, whose policy acts on
one environment at a time: a tenth of a millisecond of CPU a step. With --peers the same beside
Ray's actors.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.links import Item
from actorrl.runtime.program import Program, Stream
from benchmarks.end_to_end import rows_counter
from benchmarks.harness import commands, launching, usage
from benchmarks.harness.pairing import Case, Sample, Side, Window
from benchmarks.peers import peer

_FRAGMENT = 50
_WINDOW_S = 10.0
_START_S = 900.0  # hundreds of processes take a tenth of a CPU second each, on a quiet machine
_CASES = [(1, 0.01), (8, 0.01), (32, 0.01), (128, 0.01), (512, 0.1)]
_ROLLOUT_WORKERS = (1, 8, 32)
_MOST_OF_RAY = 128  # of its actors: 512 of 100 ms would take 13 GiB
_BARS = {128: ">= 0.95", 512: ">= 0.95"}


def cases(peers: bool) -> list[Case]:
    found = [
        _case(f"{_words(*one)}", _ours(*one), _ideal(*one), _BARS.get(one[0], "")) for one in _CASES
    ]
    found += [
        _case(f"{workers} rollout workers of 10 ms", _run(workers), _ideal(workers, 0.01))
        for workers in _ROLLOUT_WORKERS
    ]
    if peers:
        asked = [(workers, step_s) for workers, step_s in _CASES if workers <= _MOST_OF_RAY]
        found += [_case(f"{_words(*one)}, ray", _ours(*one), _ray(*one)) for one in asked]
    return found


def _words(workers: int, step_s: float) -> str:
    return f"{workers} workers of {step_s * 1000:.0f} ms"


def _case(name: str, ours: Side, other: Side, bar: str = "") -> Case:
    # apart: a peer's processes are this one's too, and would be counted as ours
    return Case(name, "env steps/s", ours, other, bar, pairs=1, together=False)


def _ray(workers: int, step_s: float) -> Side:
    return peer.side("ray 2.6.3", "ray263", "ray_sleeping.py", f"{workers} {step_s}")


def _steps(step_s: float) -> int:
    """Of a fragment: half a second, or one."""
    return _FRAGMENT if step_s < 0.05 else 10


class Sleeper(Actor):
    """A rollout worker reduced to its waiting: light, as a worker without torch is."""

    def __init__(self, step_s: float) -> None:
        self.step_s = step_s

    def on_start(self) -> None:
        self.rewards = np.zeros(_FRAGMENT, np.float32)

    def step(self) -> None:
        steps = _steps(self.step_s)
        for _ in range(steps):
            time.sleep(self.step_s)
        self.context.stream("fragments").send({"steps": steps}, {"rewards": self.rewards})


class Sink(Actor):
    def __init__(self) -> None:
        self.steps = 0

    def on_fragments(self, item: Item) -> None:
        self.steps += item.body["steps"]

    @remote(lane="control")
    def counted(self) -> tuple[float, int]:
        return time.monotonic(), self.steps


def _ours(workers: int, step_s: float) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        program = Program("sleeping")
        sleepers = program.add_group("rollout", Sleeper, step_s, count=workers)
        sink = program.add("learner", Sink)
        program.link("fragments", Stream(credit=2), sleepers, sink)
        cluster = Cluster(program)
        try:
            cluster.start(_START_S)
            counted = cluster.ref("learner/0").counted
            while counted.call().result()[1] < 2 * workers * _steps(step_s):  # all have begun
                time.sleep(0.1)
            yield lambda: _window(counted)
        finally:
            cluster.stop()

    return Side("actorrl", opened)


def _window(counted: Any) -> Sample:
    before = usage.of_tree(os.getpid(), memory=False)
    started, first = counted.call().result()
    time.sleep(_WINDOW_S)
    ended, last = counted.call().result()
    seen = usage.of_tree(os.getpid()).since(before)
    steps = last - first
    per_1000 = seen["cpu_s"] / max(1, steps) * 1000
    return Sample(steps / (ended - started), {"cpu_s_per_1000": per_1000, **seen})


class SleepingEnv(gymnasium.Env):
    """Episodes of 100 steps of 10 ms, in which nothing happens."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self._obs = np.zeros(4, np.float32)
        self._age = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._age = 0
        return self._obs, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        time.sleep(0.01)
        self._age += 1
        return self._obs, 1.0, self._age == 100, False, {}


def _run(workers: int) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        with tempfile.TemporaryDirectory() as results:
            env = f"{SleepingEnv.__module__}:{SleepingEnv.__name__}"
            more = ["--workers", str(workers), "--stop", "timesteps_total=1000000000"]
            settings = ["num_envs_per_worker=1"]
            words, rows = launching.command("IMPALA", env, results, *more, settings=settings)
            log = Path(results) / "log"
            with commands.counting(words, rows_counter(rows), log=log) as window:
                yield window

    return Side("actorrl", opened)


def _ideal(workers: int, step_s: float) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        yield lambda: Sample(workers / step_s)

    return Side("ideal", opened)
