"""What the driver reads of its policy."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np

from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.base import Algorithm
from tests.runtime.clusters import wait_until


def restarted(algo: Algorithm) -> list[str]:
    return [row["name"] for row in algo.status() if row["restarts"]]


def test_weights_are_those_of_a_learner_that_came_back_without_its_hosts_memory(
    tmp_path: Path,
) -> None:
    """Where the agent is killed, what was published goes with it, and versions begin anew."""
    config = A2CConfig().environment("CartPole-v1").rollouts(num_workers=1, num_envs_per_worker=2)
    with config.training(train_batch_size=128).build(results=tmp_path, name="run") as algo:
        for _ in range(4):
            algo.train()
        before = algo.get_policy().flat_weights().copy()
        (agent,) = [row for row in algo.status() if row["name"] == "agent/local"]
        os.kill(agent["pid"], signal.SIGKILL)
        wait_until(lambda: "learner/0" in restarted(algo))
        algo.train()
        learned = algo._run.learner_state()["weights"]
        assert not np.array_equal(learned, before)
        np.testing.assert_array_equal(algo.get_policy().flat_weights(), learned)
