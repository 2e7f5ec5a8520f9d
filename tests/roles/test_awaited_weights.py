"""Workers on other hosts, to which a request may be quicker than the weights that it asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actorrl.algorithms.base import Setup
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.errors import ActorRLError
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


@contextlib.contextmanager
def mirrored(name: str) -> Iterator[tuple[Cluster, Callable[[], None]]]:
    """A worker that sees the learner's weights only when they are brought, as the agents of two
    hosts do. The first ones are."""
    with worlds.running(program_of(name, 1)) as cluster:
        published, mirror = worlds.actor(cluster).context.publisher("weights")._block, InprocBlock()
        worlds.actor(cluster, "rollout/0").context.state("weights")._block = mirror

        def bring() -> None:
            mirror.publish(published.version, published.read()[1], published.epoch)

        bring()
        yield cluster, bring


class Clock:
    """Of a worker; each look at it takes so many seconds."""

    def __init__(self, cluster: Cluster, look_s: float) -> None:
        self.num_looks = 0
        self._look_s = look_s
        worlds.actor(cluster, "rollout/0")._requests._clock = self

    def __call__(self) -> float:
        self.num_looks += 1
        return self.num_looks * self._look_s


@pytest.mark.parametrize("name", ["A2C", "ES"])
def test_a_request_waits_for_the_weights_that_were_published_before_it(name: str) -> None:
    with mirrored(name) as (cluster, bring):
        future = worlds.begin(cluster, min_updates=2)
        learner = worlds.actor(cluster)
        worlds.poll_until(cluster, lambda: learner.tally.num_updates == 1)
        worlds.poll(cluster, 20)
        assert learner.tally.num_updates == 1 and not future.done()
        bring()
        worlds.poll_until(cluster, future.done)
        assert future.result()["policy_lag_max"] == 0


def test_weights_that_do_not_come_are_told_of_once_and_end_their_worker_with_the_cause() -> None:
    told: list[tuple[str, str, dict[str, Any]]] = []
    with mirrored("A2C") as (cluster, _):
        assert cluster._world is not None
        cluster._world.on_event = lambda *event: told.append(event)
        clock = Clock(cluster, look_s=1.0)
        worlds.begin(cluster, min_updates=2)
        have = worlds.actor(cluster).weights
        with pytest.raises(ActorRLError) as ended:
            worlds.poll_until(cluster, lambda: False)
        first, versions, advice = str(ended.value).splitlines()
        assert first == "the learner's weights have not come to host local within 600 s"
        assert f"awaited: version {have.version} of epoch {have.epoch};" in versions
        assert f"here: version {have.version - 1} of epoch {have.epoch}" in versions
        assert "agent-local.log" in advice
        ((actor, event, details),) = told
        assert (actor, event) == ("rollout/0", "weights_awaited")
        assert details["awaited_version"] == have.version == details["version"] + 1
        assert 10 <= details["seconds"] < 20 and clock.num_looks > 600


def test_a_worker_that_stood_still_itself_looks_for_weights_before_it_gives_up() -> None:
    with mirrored("A2C") as (cluster, bring):
        clock = Clock(cluster, look_s=10_000.0)
        future = worlds.begin(cluster, min_updates=2)
        learner = worlds.actor(cluster)
        worlds.poll_until(cluster, lambda: learner.tally.num_updates == 1)
        looks = clock.num_looks
        worlds.poll_until(cluster, lambda: clock.num_looks > looks + 5)
        bring()
        worlds.poll_until(cluster, future.done)


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
