"""Workers on other hosts, to which a request may be quicker than the weights that it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actorrl.algorithms.base import Setup
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.host_specs import ClusterSpec, HostSpec, NetworkSpec
from actorrl.runtime.launchers.inproc import InprocBlock
from actorrl.runtime.launchers.loopback import LoopbackLauncher
from actorrl.runtime.program import Program
from tests.roles import worlds

SIZES: dict[str, dict[str, Any]] = {
    "A2C": {"train_batch_size": 32, "rollout_fragment_length": 8},
    "DQN": {"learning_starts": 20},
    "ES": {"episodes_per_batch": 4},
}


def program_of(name: str, num_workers: int) -> Program:
    config = config_class(name)().environment("CartPole-v1").debugging(seed=0)
    config.rollouts(num_rollout_workers=num_workers, num_envs_per_worker=2)
    config.training(model={"fcnet_hiddens": [16]}, **SIZES[name])
    return config.algorithm.program(config, Setup(checked(config), 0, lambda: None))


@pytest.mark.parametrize("name", ["A2C", "ES"])
def test_a_request_waits_for_the_weights_that_were_published_before_it(name: str) -> None:
    with worlds.running(program_of(name, 1)) as cluster:
        published, mirror = worlds.actor(cluster).context.publisher("weights")._block, InprocBlock()
        worlds.actor(cluster, "rollout/0").context.state("weights")._block = mirror

        def bring() -> None:  # as the agents of two hosts do
            mirror.publish(published.version, published.read()[1], published.epoch)

        bring()
        future = worlds.begin(cluster, min_updates=2)
        learner = worlds.actor(cluster)
        worlds.poll_until(cluster, lambda: learner.tally.num_updates == 1)
        worlds.poll(cluster, 20)
        assert learner.tally.num_updates == 1 and not future.done()
        bring()
        worlds.poll_until(cluster, future.done)
        assert future.result()["policy_lag_max"] == 0


@pytest.mark.parametrize("name", ["A2C", "DQN"])
def test_rounds_go_on_with_workers_on_other_hosts(name: str, tmp_path: Path) -> None:
    hosts = ClusterSpec(
        hosts=(
            HostSpec(name="local", roles=("learner",)),
            HostSpec(name="one", roles=("rollout",)),
        ),
        network=NetworkSpec(ports=(43200, 43399)),
    )
    launch = LoopbackLauncher(tmp_path / "hosts")
    with Cluster(program_of(name, 2), hosts, launch=launch) as cluster:
        train = cluster.ref("learner/0").train.within(worlds.PATIENCE_S)
        goal = {"min_updates": 20, "min_env_steps": 0, "min_time_s": 0.0}
        report = train.call(**goal).result()
        assert cluster.num_restarts() == 0
    assert report["num_updates"] >= 20
