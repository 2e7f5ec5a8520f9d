"""Each row is sampled so many times, whoever is slow: with real processes, by counting."""

from __future__ import annotations

import functools
import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from actorrl.algorithms.apex_dqn import APEX, make_policy, make_update
from actorrl.algorithms.base import Setup
from actorrl.algorithms.q_learning import QUpdate
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.refs import NO_LIMIT
from actorrl.testing.probe_envs import CountingEnv
from tests.roles import worlds

TARGET = 4.0
SLOW_UPDATE_S = 0.02  # one takes about 1 ms by itself
SLOW_STEP_S = 0.002  # one takes about 10 us by itself


class SlowUpdate(QUpdate):
    def __call__(self, batch: dict[str, torch.Tensor], timesteps: int) -> Any:
        time.sleep(SLOW_UPDATE_S)
        return super().__call__(batch, timesteps)


def make_slow_update(config: Any, info: Any, seed: int, device: str) -> SlowUpdate:
    return SlowUpdate(config, make_policy(config, info, seed, np.arange(1)), device, tau=1.0)


class SlowEnv(gym.Wrapper):  # type: ignore[type-arg]
    def __init__(self, context: Any) -> None:
        super().__init__(CountingEnv(context))

    def step(self, action: int) -> Any:
        time.sleep(SLOW_STEP_S)
        return self.env.step(action)


@pytest.mark.parametrize(
    ("env", "make"),
    [
        pytest.param(CountingEnv, make_slow_update, id="ten times slower learner"),
        pytest.param(SlowEnv, make_update, id="ten times slower workers", marks=pytest.mark.slow),
    ],
)
def test_samples_per_insert_stays_within_a_tenth_of_its_target(env: Any, make: Any) -> None:
    config, info = worlds.configured("APEX", env, num_workers=1, num_envs_per_worker=2)
    config.training(rollout_fragment_length=5, learning_starts=40, train_batch_size=32)
    config.training(samples_per_insert=TARGET, replay_capacity=400)
    program = APEX.program(config, Setup(info, 0, lambda: None))
    node = program.nodes["learner/0"]
    settings = worlds.learner(functools.partial(make, config, info, 0), 32)
    node.args = (settings, *node.args[1:])
    with Cluster(program) as cluster:
        learner = cluster.ref("learner/0")
        ratios = []
        for goal in (100, 20, 20):
            future = learner.train.within(NO_LIMIT).call(
                min_updates=goal, min_env_steps=0, min_time_s=0.0, stay=True
            )
            while not future.done():
                cluster.poll(0.05)
            report = future.result()
            ratios.append(report["counters"]["samples_per_insert"])
    assert report["num_updates"] >= 140
    assert ratios == pytest.approx([TARGET] * 3, rel=0.1)
