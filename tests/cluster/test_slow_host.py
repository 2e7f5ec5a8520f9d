"""One host whose cable is slow: its own workers wait, nobody else does, and control messages find
their way between its samples."""

from __future__ import annotations

import importlib
import subprocess
import time
from collections.abc import Iterator

import pytest

from actorrl.algorithms.impala import IMPALAConfig
from tests.cluster.runs import COMMAND, counters, entry, environment
from tests.cluster.trainings import Training

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MBIT = 10
SECONDS = 20.0  # of looking
ENVIRONMENT = """
import gymnasium as gym
import numpy as np
import torch.nn as nn
from actorrl import ModelCatalog, TorchModelV2

SIZE = 65_536
NOISE = np.random.default_rng(1).integers(0, 256, 40 * SIZE, np.uint8)

class Noisy(gym.Env):
    '''Observations that no compression makes smaller, and that cost nothing to make.'''
    observation_space = gym.spaces.Box(0, 255, (SIZE,), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config):
        self.steps = 0

    def look(self):
        return NOISE[self.steps * SIZE : (self.steps + 1) * SIZE]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.look(), {}

    def step(self, action):
        self.steps += 1
        return self.look(), 1.0, self.steps >= 39, False, {}

class Blind(TorchModelV2, nn.Module):
    '''Looks at eight numbers of all that: it costs nothing, and its weights are few.'''
    def __init__(self, obs_space, action_space, num_outputs, model_config, name):
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.actions, self.value = nn.Linear(8, num_outputs), nn.Linear(8, 1)

    def forward(self, input_dict, state, seq_lens):
        seen = input_dict["obs"][:, :8].float()
        self._value = self.value(seen).squeeze(1)
        return self.actions(seen), state

    def value_function(self):
        return self._value

ModelCatalog.register_custom_model("blind", Blind)
"""


@pytest.fixture
def training(flat, tmp_path, monkeypatch) -> Iterator[Training]:
    """A worker on each of two hosts, the second one with a slow cable."""
    one, two, _ = flat.addresses
    (tmp_path / "noisy.py").write_text(ENVIRONMENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries = entry("local", "learner"), entry(one, "rollout"), entry(two, "rollout")
    hosts = flat.cluster(tmp_path / "cluster.yml", *entries)
    config = IMPALAConfig().environment("noisy:Noisy").cluster(hosts=str(hosts))
    config.rollouts(num_rollout_workers=2, num_envs_per_worker=1, rollout_fragment_length=10)
    importlib.import_module("noisy")  # registers the model
    config.training(model={"custom_model": "blind"}, train_batch_size=20)
    training = Training(config, tmp_path)
    space = ["ip", "netns", "exec", flat.plan.hosts[1].namespace, "tc", "qdisc"]
    slow = ["tbf", "rate", f"{MBIT}mbit", "burst", "32kb", "latency", "200ms"]
    training.wait_for_rows(1)
    subprocess.run([*space, "add", "dev", "eth0", "root", *slow], check=True)
    yield training
    subprocess.run([*space, "del", "dev", "eth0", "root"], check=True)
    training.stop()


def sampled(training: Training) -> list[float]:
    """Env steps of each worker, as it has reported them."""
    workers = training.algo._run.reporter._workers
    return [float(workers[f"rollout/{index}"]["num_env_steps"]) for index in (0, 1)]


def test_a_slow_host_slows_its_own_workers_alone_and_control_gets_through(training, flat):
    training.wait_for_rows(3)  # what was under way has gone through the fast cable
    steps, sent, start = sampled(training), counters(flat), time.monotonic()
    calls_s, status_s = [], []
    while time.monotonic() - start < SECONDS:
        before = time.monotonic()
        training.algo.workers.foreach_worker(lambda worker: worker.worker_index)
        calls_s.append(time.monotonic() - before)
        before = time.monotonic()
        words = [*COMMAND, "top", str(training.folder), "--once"]
        subprocess.run(words, check=True, capture_output=True, env=environment(), timeout=60)
        status_s.append(time.monotonic() - before)
    elapsed = time.monotonic() - start
    fast, slow = (now - then for now, then in zip(sampled(training), steps, strict=True))
    crossed = [now - then for now, then in zip(counters(flat), sent, strict=True)]
    print(f"{fast / elapsed:.0f} and {slow / elapsed:.0f} env steps/s, "
          f"{[round(n * 8e-6 / elapsed, 1) for n in crossed]} Mbit/s, "
          f"calls {max(calls_s):.2f} s at most, top {max(status_s):.2f} s")  # fmt: skip
    limit = MBIT * 1e6 / 8 * elapsed
    assert 0.5 * limit < crossed[1] < 1.2 * limit  # it is the cable that holds it up
    assert fast > 3 * slow > 0
    # no beat was late, nobody was lost, and every call was answered
    assert training.events("host_suspect") == training.events("host_lost") == []
    assert training.rows[-1]["num_restarts"] == 0
    assert all(row["state"] in ("ready", "up") for row in training.algo.status())
