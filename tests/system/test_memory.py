"""An environment that eats memory: its worker is ended, by its agent at its limit or by the kernel,
and the run goes on."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control_groups import little_memory
from tests.system import runs

LEAK = """
import pathlib
import time
import gymnasium as gym
import numpy as np

class Leak(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)
    eaten = []

    def __init__(self, config):
        self.steps, self.go = 0, pathlib.Path(config["go"])
        self.eats = config.worker_index == 2 and config.vector_index == 0

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.eats and self.go.exists():
            self.go.unlink()
            for _ in range(9):
                self.eaten.append(b"x" * 100_000_000)
                time.sleep(0.2)
        return np.zeros(2, np.float32), 1.0, self.steps % 10 == 0, False, {}
"""

HOSTS = "hosts: [local]\nroles: {rollout: {count: 2, mem: %s}}\n"
AT_ITS_LIMIT = r"ended at its memory limit: it held (\d+ MiB|\d\.\d GiB), and 703 MiB are allowed"
BY_THE_KERNEL = r"killed by the kernel: out of memory; it held \d+ MiB when last looked at"

pytestmark = pytest.mark.slow  # tests/runtime/test_memory_limits.py has the actors' own every day


@contextlib.contextmanager
def leaking(home: Path, limit: str) -> Iterator[runs.Run]:
    """A run whose second worker eats 900 MB as soon as there is a file `go`."""
    (home / "leak.py").write_text(LEAK)
    (home / "hosts.yml").write_text(HOSTS % limit)
    words = ["--algo", "IMPALA", "--env", "leak:Leak", "--hosts", "hosts.yml"]
    words += ["--set", f"env_config.go={home / 'go'}", "--stop", "timesteps_total=1e9"]
    with runs.launched(*words, home=home) as run:
        run.wait_for_rows(1)
        yield run


def see_it_end(run: runs.Run, told: str) -> None:
    """The worker ends for that reason, and the run goes on."""
    (run.home / "go").touch()
    run.wait_for(lambda: run.rows()[-1]["num_restarts"] == 1)
    run.wait_for_rows(len(run.rows()) + 2)
    (ended,) = [e for e in run.events() if e["kind"] == "actor_exited"]
    (row,) = [row for row in run.status["actors"] if row["name"] == "rollout/1"]
    assert ended["actor"] == "rollout/1" and ended["rss_bytes"] > 300e6
    assert re.fullmatch(told, ended["reason"])
    assert row["restarts"] == 1 and row["last_error"] == ended["reason"]


def test_a_worker_whose_environment_eats_memory_is_ended_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    with leaking(tmp_path, "200MB") as run:
        see_it_end(run, AT_ITS_LIMIT)


def test_a_worker_that_the_kernel_kills_for_want_of_memory_is_told_so_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    with (
        leaking(tmp_path, "2GB") as run,
        little_memory(f"actorrl-test-{run.run_id()}", 500_000_000) as members,
    ):
        members.write_text(str(run.pids()["rollout/1"]))
        see_it_end(run, BY_THE_KERNEL)
