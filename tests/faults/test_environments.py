"""Environments that fail as real ones do: crash in C, hang, leave processes, eat all memory."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from actorrl.algorithms.impala import IMPALAConfig
from actorrl.errors import EnvironmentFailure
from tests.faults.measures import Measure
from tests.runtime.clusters import is_alive, left_of, wait_until

pytestmark = pytest.mark.timeout(400)
HUNG_S = 8.0  # progress limit
SLEEPER = [sys.executable, "-c", "import time; time.sleep(1000)"]


class Cursed(gym.Env):
    """Fails at its 100th step in the way that its worker is told to; once, if there is a `once`
    folder."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config):
        self.fault = config["faults"].get(str(config.worker_index))
        self.marker = Path(config["once"]) / str(config.worker_index) if "once" in config else None
        self.count = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.count += 1
        self.age += 1
        if self.count == 100 and self.fault:
            self.fail()
        return np.ones(3, np.float32), 1.0, self.age == 20, False, {}

    def fail(self):
        if self.marker is not None:
            if self.marker.exists():
                return
            child = subprocess.Popen(SLEEPER).pid
            self.marker.write_text(f"{time.time()} {child}")
        match self.fault:
            case "segfault":
                ctypes.string_at(0)
            case "exit":
                os._exit(7)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                time.sleep(1e6)
            case "GIL":
                stand_still_in_c()
            case "memory":
                limit = memory_in_use() + (1 << 29)  # enough to tell of it
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                self.eaten = np.ones(1 << 28)


def memory_in_use() -> int:
    """Bytes of this process's address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def stand_still_in_c() -> None:
    """Lock one mutex twice, with the GIL held: no other thread of the process gets on, and unlike
    a sleep it does not end when a signal comes."""
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


WORDS = {
    "segfault": "SIGSEGV",
    "exit": "exit code 7",
    "kill": "SIGKILL",
    "sleep": "hung: no progress for ",
    "GIL": "hung: no progress for ",
}


def config(faults: dict[str, str], **env_config) -> IMPALAConfig:
    return (
        IMPALAConfig()
        .environment(Cursed, env_config={"faults": faults, **env_config})
        .rollouts(num_workers=max(1, len(faults)), num_envs_per_worker=2, progress_limit_s=HUNG_S)
        .training(train_batch_size=200)
        .reporting(min_time_s_per_iteration=0.2)
    )


def events(run_folder: str, kind: str) -> list[dict]:
    lines = (Path(run_folder) / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["kind"] == kind]


def test_workers_whose_environments_crash_come_back_and_what_they_had_started_is_gone(tmp_path):
    once = tmp_path / "once"
    once.mkdir()
    faults = {str(index): fault for index, fault in enumerate(WORDS, start=1)}
    algo = config(faults, once=str(once)).build(results=tmp_path / "results")
    try:
        deadline = time.monotonic() + 120
        row = algo.train(stay=True)
        while row["num_restarts"] < len(faults) or row["num_healthy_workers"] < len(faults):
            assert time.monotonic() < deadline, row
            row = algo.train(stay=True)
        learned = row["num_updates"]
        assert algo.train()["num_updates"] > learned
        children = []
        for index, fault in faults.items():
            moment, child = (once / index).read_text().split()
            children.append(int(child))
            actor = f"rollout/{int(index) - 1}"
            (end,) = [e for e in events(algo.run_folder, "actor_exited") if e["actor"] == actor]
            back = [e for e in events(algo.run_folder, "actor_ready") if e["actor"] == actor]
            Measure(
                f"environment: {fault}",
                actor,
                detect_s=end["time"] - float(moment),
                ready_s=back[-1]["time"] - float(moment),
            ).keep()
            assert WORDS[fault] in end["reason"]
        wait_until(lambda: not any(map(is_alive, children)))
        run_id = algo.run_id
    finally:
        assert algo.stop() == []
    wait_until(lambda: left_of(run_id) == [])  # a socket outlives its killed process by a moment


def test_an_environment_that_eats_all_memory_ends_the_run_with_that_one_cause(tmp_path):
    (tmp_path / "once").mkdir()
    algo = config({"1": "memory"}, once=str(tmp_path / "once")).build(results=tmp_path / "results")
    run_id = algo.run_id
    with pytest.raises(EnvironmentFailure, match="MemoryError"):
        try:
            for _ in range(200):
                algo.train(stay=True)
        finally:
            algo.stop()
    (failed,) = events(algo.run_folder, "run_failed")
    moment = float((tmp_path / "once" / "1").read_text().split()[0])
    note = "the run ends, as after every error of an environment, with that cause"
    Measure(
        "environment: no memory (MemoryError)", "rollout/0", failed["time"] - moment, note=note
    ).keep()
    wait_until(lambda: left_of(run_id) == [])  # a socket outlives its killed process by a moment
