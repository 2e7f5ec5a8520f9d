"""Each topology as a value: what its file draws is what is built, and it runs in one thread."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest

from actorrl.algorithms.base import Setup
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.runtime.program import Program, Request, State, Stream
from actorrl.runtime.refs import DRIVER
from actorrl.topologies import (
    async_gradients,
    distributed_replay,
    evolution,
    local_replay,
    sample_queue,
    synchronous,
)
from tests.roles import worlds

TOPOLOGIES = {
    "A2C": synchronous,
    "A3C": async_gradients,
    "IMPALA": sample_queue,
    "APEX": distributed_replay,
    "DQN": local_replay,
    "ES": evolution,
}


def program_of(name: str, **settings: Any) -> Program:
    config = config_class(name)().environment("CartPole-v1").rollouts(num_envs_per_worker=2)
    config.training(**{"num_workers": 3, **settings})
    return config.algorithm.program(config, Setup(checked(config), 0, lambda: None))


@pytest.mark.parametrize(("name", "module"), TOPOLOGIES.items())
def test_the_files_list_of_links_is_the_programs(name: str, module: ModuleType) -> None:
    """A line of the list: the link's name, its kind, and what happens when it is full."""
    program = program_of(name)
    assert module.__doc__ is not None
    listed = dict(re.findall(r"^ *(\w{3,}) +(stream|request|state|report)\b", module.__doc__, re.M))
    assert listed == {link: str(x.kind).partition("(")[0] for link, x in program.links.items()}
    assert len(re.findall(r"full", module.__doc__, re.I)) >= len(listed)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_link_has_a_bound_and_weights_go_to_all_workers(name: str) -> None:
    program = program_of(name)
    workers = tuple(f"rollout/{i}" for i in range(3))
    weights = program.links["weights"]
    assert (weights.sources, weights.targets) == (("learner/0",), workers)
    assert isinstance(weights.kind, State)
    assert program.links["metrics"].targets == (DRIVER,)
    for link in program.links.values():
        if isinstance(link.kind, Stream):
            assert 1 <= link.kind.credit <= 16
        if isinstance(link.kind, Request):
            assert 1 <= link.kind.in_flight <= 4


def test_gradients_go_one_at_a_time() -> None:
    kind = program_of("A3C").links["gradients"].kind
    assert kind == Stream(1, full="wait")


def test_ape_x_has_as_many_shards_as_asked_for() -> None:
    program = program_of("APEX", num_replay_shards=3)
    shards = tuple(f"replay/{i}" for i in range(3))
    for link in ("samples", "replay", "priorities"):
        assert program.links[link].targets == shards
    assert program.links["inserts"].sources == shards


def test_a_learner_with_a_gpu_is_placed_where_one_is() -> None:
    program = program_of("IMPALA", num_gpus=1)
    assert program.nodes["learner/0"].gpu == 1
    assert all(node.gpu == 0 for name, node in program.nodes.items() if name != "learner/0")


@pytest.mark.parametrize("name", TOPOLOGIES)
@pytest.mark.parametrize("num_workers", [1, 3])
def test_each_runs_in_one_thread_and_takes_everybodys_experience(
    name: str, num_workers: int
) -> None:
    with worlds.running(program_of(name, num_workers=num_workers)) as cluster:
        goal = 3000 if name == "APEX" else 1500  # both replays start to learn after 1,000 rows
        report = worlds.train(cluster, min_updates=5, min_env_steps=goal)
    assert report["timesteps_total"] >= goal and report["num_updates"] >= 5
    envs = {env for env, _, _ in report["episodes"]}
    if name == "ES":  # names the first environment of each worker, and none for noisy episodes
        assert envs == {-1, *range(0, 2 * num_workers, 2)}
        return
    assert envs == set(range(2 * num_workers)), "a CartPole episode is much shorter than that"
