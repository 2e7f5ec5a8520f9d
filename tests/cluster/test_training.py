"""Runs over hosts that share nothing but a network and SSH, from the command line and a script."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from actorrl.runtime import strays
from tests.cluster.runs import (
    COMMAND,
    PATIENCE_S,
    Run,
    counters,
    entry,
    environment,
    is_clean,
    launch_words,
)
from tests.cluster.sandboxes import Sandbox

pytestmark = pytest.mark.timeout(400)
ENDLESS = ["--stop", "timesteps_total=100000000"]


@pytest.fixture
def three(flat: Sandbox, tmp_path: Path) -> Path:
    """Workers on two hosts, shards on the third, the learner here."""
    one, two, three = flat.addresses
    return flat.cluster(
        tmp_path / "cluster.yml",
        entry("local", "learner"),
        entry(one, "rollout"),
        entry(two, "rollout"),
        entry(three, "replay"),
    )


def trains_over_hosts(run: Run, sandbox: Sandbox) -> bool:
    """Its status names the hosts in mid-run, the hosts' cables carry its samples, it ends well."""
    before = counters(sandbox)
    run.wait(run.is_training)
    words = [*COMMAND, "status", "run", "--results", str(run.folder.parent), "--json"]
    said = subprocess.check_output(words, text=True, env=environment())
    hosts = {row["name"]: row["host"] for row in json.loads(said)["actors"]}
    one, two, three = sandbox.addresses
    assert {hosts["rollout/0"], hosts["rollout/1"]} == {one, two}
    assert hosts.get("replay/0", three) == three and hosts.get("learner/0", "local") == "local"
    assert run.end() == 0, run.output
    crossed = [now - then for now, then in zip(counters(sandbox), before, strict=True)]
    assert all(num_bytes > 50_000 for num_bytes in crossed[:2])
    steps = run.rows()[-1]["timesteps_total"]
    assert sum(crossed) > 16 * steps  # a CartPole observation has 16 bytes
    network = run.rows()[-1]["info"]["network"]  # told every few seconds: how much is not asked
    assert "bytes_wire" in network["agent"]
    return is_clean(run, sandbox)


def test_apex_trains_with_workers_and_shards_on_other_hosts(flat, three, start):
    few = "samples_per_insert=2"  # updates, which are not what this is about
    options = ["--workers", "2", "--stop", "timesteps_total=2500", "--set", few]
    assert trains_over_hosts(start(launch_words(three, "APEX", *options)), flat)


SLOW = [pytest.param(algo, marks=pytest.mark.slow) for algo in ("IMPALA", "A3C", "DQN")]


@pytest.mark.parametrize("algo", ["PPO", *SLOW])
def test_others_train_with_workers_on_other_hosts(flat, three, start, algo):
    options = ["--workers", "2", "--stop", "timesteps_total=10000"]
    assert trains_over_hosts(start(launch_words(three, algo, *options)), flat)


def test_a_lost_host_is_replaced_and_the_drivers_death_ends_all(flat, tmp_path, start):
    one, two, _ = flat.addresses
    entries = entry("local", "learner"), entry(one, "rollout"), entry(two, "rollout")
    hosts = flat.cluster(tmp_path / "cluster.yml", *entries)
    hosts.write_text(hosts.read_text() + "failure: {lease_s: 5}\n")
    run = start(launch_words(hosts, "IMPALA", "--workers", "2", *ENDLESS))
    run.wait(run.is_training)
    run_id = run.status()["run_id"]
    for pid in strays.of_run(run_id, two):
        with contextlib.suppress(ProcessLookupError):  # it ended with one killed before it
            os.kill(pid, signal.SIGKILL)
    run.wait(lambda: run.actors()["rollout/1"]["incarnation"] == 2)
    run.wait(lambda: run.actors()["rollout/1"]["state"] == "ready")
    run.process.kill()
    run.process.wait()
    end = time.monotonic() + PATIENCE_S
    while strays.of_run(run_id):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
def test_where_nothing_but_ssh_gets_through_a_run_trains_all_the_same(far_away, tmp_path, start):
    (host,) = far_away.addresses
    entries = entry("local", "learner"), entry(host, "rollout")
    hosts = far_away.cluster(tmp_path / "cluster.yml", *entries)
    run = start(launch_words(hosts, "IMPALA", "--workers", "1", "--stop", "timesteps_total=3000"))
    assert run.end() == 0, run.output
    assert "cannot connect to the driver: an SSH forward carries" in run.output
    assert is_clean(run, far_away)


SCRIPT = """
import gymnasium as gym
import numpy as np
from actorrl.algorithms.impala import IMPALAConfig

class Corridor(gym.Env):
    '''Of this script alone: the hosts have no file with it under its name.'''
    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config):
        pass

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.place, self.steps = max(0, self.place + 2 * int(action) - 1), self.steps + 1
        there = self.place >= 4
        observation = np.full(1, min(self.place, 4) / 4, np.float32)
        return observation, float(there), there, self.steps >= 50, {}

config = (IMPALAConfig().environment(Corridor).rollouts(num_rollout_workers=2)
          .cluster(hosts="cluster.yml"))
algo = config.build(name="run", results="results")
for _ in range(3):
    result = algo.train()
assert result["num_healthy_workers"] == 2 and result["timesteps_total"] > 0, result
print(sorted(algo.workers.foreach_worker(lambda worker: __import__("socket").gethostname(),
                                         local_worker=False)))
algo.stop()
print("done")
"""


@pytest.mark.slow
def test_a_script_without_a_guard_runs_over_hosts(flat, three, start, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    run = start([sys.executable, "script.py"])
    assert run.end() == 0, run.output
    assert re.search(r"^\['h1', 'h2'\]\ndone$", run.output, re.M), run.output
    assert {run.hosts()[f"rollout/{i}"] for i in (0, 1)} == set(flat.addresses[:2])
    assert is_clean(run, flat)


@pytest.mark.slow
def test_a_host_that_is_not_required_is_missed_in_the_beginning_and_in_the_end(
    flat, tmp_path, start
):
    absent = f"{flat.addresses[1]}:2299"
    entries = (
        entry("local", "learner"),
        entry(flat.addresses[0], "rollout"),
        entry(absent, "rollout", required=False),
    )
    hosts = flat.cluster(tmp_path / "cluster.yml", *entries)
    run = start(launch_words(hosts, "IMPALA", "--workers", "2", "--stop", "timesteps_total=3000"))
    assert run.end() == 0, run.output
    first, last = run.output.split("run folder:", 1)
    assert f"{absent}: left out, it is not required" in first
    assert re.search(rf"without host {absent}: .*2299 is closed", last), last


@pytest.mark.slow
def test_hosts_without_a_word_on_cores_have_as_many_workers_as_cores(flat, tmp_path, start):
    one, two, _ = flat.addresses
    entries = entry("local", "learner"), entry(one, "rollout"), entry(two, "rollout")
    hosts = flat.cluster(tmp_path / "cluster.yml", *entries)
    run = start(launch_words(hosts, "IMPALA", "--stop", "timesteps_total=1000"))
    assert run.end() == 0, run.output
    workers = [name for name in run.hosts() if name.startswith("rollout/")]
    assert len(workers) == 2 * len(os.sched_getaffinity(0))
