"""Which hosts have to reach which, for a Program and a host list."""

from __future__ import annotations

from actorrl.runtime.actor import Actor
from actorrl.runtime.host_specs import ClusterSpec, HostSpec
from actorrl.runtime.program import Program, Report, Request, State, Stream
from actorrl.runtime.refs import DRIVER
from actorrl.runtime.ways_needed import host_pairs, role_pairs


class Worker(Actor):
    def serve_ask(self, request): ...


class Learner(Actor):
    def on_samples(self, item): ...
    def on_ask(self, item): ...
    def on_metrics(self, item): ...


def program(workers: int = 8) -> Program:
    made = Program("several")
    learner = made.add("learner", Learner)
    group = made.add_group("worker", Worker, count=workers)
    made.link("samples", Stream(2), group, learner)
    made.link("ask", Request(1), learner, group)
    made.link("weights", State(), learner, group)
    made.link("metrics", Report(), learner, DRIVER)
    return made


def hosts(*names: str, **roles: tuple[str, ...]) -> ClusterSpec:
    return ClusterSpec(
        hosts=tuple(HostSpec(name=name, roles=roles.get(name, ("worker",))) for name in names)
    )


def test_workers_reach_the_learner_and_the_driver_and_nobody_reaches_workers():
    assert role_pairs(program(), {}) == {
        ("worker", "learner"),
        ("worker", DRIVER),
        ("learner", DRIVER),
        (DRIVER, "learner"),
    }


def test_with_the_learner_here_each_host_needs_one_way_to_here():
    spec = hosts("local", *(f"cpu{i:02}" for i in range(30)), local=("learner",))
    assert host_pairs(program(), spec, {}) == {(f"cpu{i:02}", "local") for i in range(30)}


def test_a_learner_elsewhere_is_reached_by_the_workers_hosts_and_by_the_driver():
    spec = hosts("local", "gpu", "cpu", local=("none",), gpu=("learner",))
    assert host_pairs(program(), spec, {}) == {
        ("gpu", "local"),
        ("cpu", "local"),
        ("cpu", "gpu"),
        ("local", "gpu"),
    }


def test_hosts_without_roles_may_come_to_carry_anything():
    spec = hosts("local", "one", "two", local=(), one=(), two=())
    names = ("local", "one", "two")
    assert host_pairs(program(), spec, {}) == {(a, b) for a in names for b in names if a != b}


def test_who_may_call_somebody_needs_a_way_or_is_visited():
    assert ("worker", "worker") in role_pairs(program(), {"worker/0": ["worker/1"]})
    visited = role_pairs(program(), {"worker/2": ["learner/0"]})
    assert visited == role_pairs(program(), {})  # it is there already
