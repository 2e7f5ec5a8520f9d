"""An environment that eats memory: its worker is ended at its limit, and the run goes on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system import runs

LEAK = """
import pathlib
import gymnasium as gym
import numpy as np

class Leak(gym.Env):
    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)
    eaten = []

    def __init__(self, config):
        self.steps, self.has_eaten = 0, pathlib.Path(config["flag"])
        self.eats = config.worker_index == 2 and config.vector_index == 0

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.eats and self.steps > 20 and not self.has_eaten.exists():
            self.has_eaten.write_text("once")
            self.eaten.append(b"x" * 900_000_000)
        return np.zeros(2, np.float32), 1.0, self.steps % 10 == 0, False, {}
"""

HOSTS = "hosts: [local]\nroles: {rollout: {count: 2, mem: 200MB}}\n"


@pytest.mark.slow  # tests/runtime/test_memory_limits.py has the actors' own every day
def test_a_worker_whose_environment_eats_memory_is_ended_and_the_run_goes_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "leak.py").write_text(LEAK)
    (tmp_path / "hosts.yml").write_text(HOSTS)
    words = ["--algo", "IMPALA", "--env", "leak:Leak", "--hosts", "hosts.yml"]
    words += ["--set", f"env_config.flag={tmp_path / 'flag'}", "--stop", "timesteps_total=1e9"]
    with runs.launched(*words, home=tmp_path) as run:
        run.wait_for(lambda: bool(run.rows()) and run.rows()[-1]["num_restarts"] == 1)
        count = len(run.rows())
        run.wait_for_rows(count + 2)
        (ended,) = [e for e in run.events() if e["kind"] == "actor_exited"]
        (row,) = [row for row in run.status["actors"] if row["name"] == "rollout/1"]
    assert ended["actor"] == "rollout/1" and ended["rss_bytes"] > 700e6
    told = r"ended at its memory limit: it held (\d+ MiB|\d\.\d GiB), and 703 MiB are allowed"
    assert re.fullmatch(told, ended["reason"])
    assert row["restarts"] == 1 and row["last_error"] == ended["reason"]
