"""How fast training goes on while one of several workers is away.

    .venv/bin/python -m tests.faults.rates

Environments that sleep, so that workers and not processors set the rate. Of each killed worker: env
steps per second from the kill until its successor was ready, as a part of what the others did
before; and seconds until the rate of all was back.
"""

from __future__ import annotations

import bisect
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from actorrl.algorithms.base import Algorithm
from actorrl.algorithms.impala import IMPALAConfig

WORKERS = 4
STEP_S = 0.02
BEFORE_S, AFTER_S = 10.0, 12.0
BACK = 0.9  # of the rate before, over a second: all sample again


class Sleepy(gym.Env):
    """A step takes 20 ms and no processor."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._age = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> Any:
        time.sleep(STEP_S)
        self._age += 1
        return np.ones(3, np.float32), 1.0, self._age == 200, False, {}


class Curve:
    """Env steps over time."""

    def __init__(self, algo: Algorithm) -> None:
        self._algo = algo
        self.times: list[float] = []
        self._steps: list[int] = []

    def follow(self, seconds: float) -> None:
        end = time.time() + seconds
        while time.time() < end:
            row = self._algo.train(stay=True)
            self.times.append(time.time())
            self._steps.append(row["timesteps_total"])

    def rate(self, start: float, end: float) -> float:
        first, last = np.interp([start, end], self.times, self._steps)
        return float(last - first) / (end - start)

    def back_after(self, moment: float, rate: float) -> float:
        """Seconds until a second began in which it was that fast again; inf if it never was."""
        for start in self.times[bisect.bisect(self.times, moment) :]:
            if start + 1.0 <= self.times[-1] and self.rate(start, start + 1.0) >= rate:
                return start - moment
        return float("inf")


def kill_one(algo: Algorithm, index: int) -> str:
    """A line of the table."""
    curve = Curve(algo)
    curve.follow(BEFORE_S)
    name = f"rollout/{index}"
    [pid] = [row["pid"] for row in algo.status() if row["name"] == name]
    moment = time.time()
    os.kill(pid, signal.SIGKILL)
    curve.follow(AFTER_S)
    ready = ready_after(Path(algo.run_folder), name, moment)
    before = curve.rate(curve.times[0], moment)
    others = before * (WORKERS - 1) / WORKERS
    during = curve.rate(moment, ready)
    back_s = curve.back_after(ready, BACK * before) + ready - moment
    return (
        f"| {name} | {before:.0f} | {others:.0f} | {during:.0f} | {during / others:.0%} |"
        f" {ready - moment:.1f} s | {back_s:.1f} s |"
    )


def ready_after(folder: Path, actor: str, moment: float) -> float:
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "actor_ready" and event["actor"] == actor and event["time"] > moment:
            return float(event["time"])
    raise RuntimeError(f"{actor} did not come back within {AFTER_S:g} s")


def main() -> None:
    config = IMPALAConfig().environment(Sleepy)
    config.rollouts(num_workers=WORKERS, num_envs_per_worker=1, rollout_fragment_length=5)
    config.training(train_batch_size=20).reporting(min_time_s_per_iteration=0.1)
    print(f"IMPALA, {WORKERS} workers, an env step sleeps {STEP_S * 1000:.0f} ms,", end=" ")
    print(f"load average {os.getloadavg()[0]:.1f}\n")
    print("| killed | env steps/s before | without its share | until it is ready |", end="")
    print(" part | ready again | rate back |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as results, config.build(results=results) as algo:
        Curve(algo).follow(5.0)
        for index in range(3):
            print(kill_one(algo, index), flush=True)


if __name__ == "__main__":
    main()
