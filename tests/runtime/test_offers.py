"""What hosts offer: the list's word, else what was counted, else what is assumed."""

from __future__ import annotations

import pytest

from actorrl.errors import PlacementError
from actorrl.runtime.actor import Actor
from actorrl.runtime.host_specs import ClusterSpec, HostSpec, NetworkSpec, ResourceSpec, SshSpec
from actorrl.runtime.offers import assumed_offers, listening, offers
from actorrl.runtime.placement import Host, place
from actorrl.runtime.program import Program, Stream

REMOTE = SshSpec(host="x", user="u")
HERE = Host("here", 2, 16, ("A", "B"))


def spec(*hosts: HostSpec) -> ClusterSpec:
    return ClusterSpec(hosts=hosts, network=NetworkSpec(ports=(5000, 5009)))


def test_auto_is_what_was_counted_and_most_of_the_memory():
    hosts = spec(HostSpec(name="local", roles=("rollout",)))
    assert offers(hosts, {"local": HERE}) == [
        Host("local", 2, 12, ("A", "B"), roles=("rollout",), num_ports=6)
    ]


def test_the_lists_word_goes_before_what_was_counted():
    said = HostSpec(name="local", resources=ResourceSpec(cpu=9, gpu=1, mem=5))
    (host,) = offers(spec(said), {"local": HERE})
    assert (host.num_cpus, host.memory_bytes, host.gpus) == (9, 5, ("A",))


def test_ports_are_those_of_the_range_or_the_free_ones_less_what_agent_and_driver_take():
    hosts = spec(HostSpec(name="local"), HostSpec(name="x", ssh=REMOTE))
    found = {"local": HERE, "x": Host("x", 1, num_ports=3)}
    assert [host.num_ports for host in offers(hosts, found)] == [6, 2]


def test_gpus_that_a_host_does_not_have_are_refused():
    said = HostSpec(name="local", resources=ResourceSpec(gpu=3))
    with pytest.raises(PlacementError, match="local has 2 GPUs, and the host list says gpu: 3"):
        offers(spec(said), {"local": HERE})


def test_a_host_that_was_not_reached_offers_nothing():
    hosts = spec(HostSpec(name="local"), HostSpec(name="x", ssh=REMOTE))
    assert [host.name for host in offers(hosts, {"x": HERE})] == ["x"]


def test_before_a_host_is_reached_one_core_and_what_is_asked_for_are_assumed():
    program = Program("p")
    program.add("learner", Actor, gpu=1, mem=10**12)
    program.add_group("rollout", Actor, count=2, gpu=0.5)
    remote = HostSpec(name="x", ssh=REMOTE)
    told = HostSpec(name="y", ssh=REMOTE, resources=ResourceSpec(cpu=8, gpu=0, mem=7))
    local, x, y = assumed_offers(spec(HostSpec(name="local"), remote, told), HERE, program)
    assert (local.num_cpus, local.gpus, local.assumed) == (2, ("A", "B"), ())
    assert (x.num_cpus, len(x.gpus), x.memory_bytes) == (1, 3, None)
    assert x.assumed == ("cores", "GPUs", "memory")
    assert (y.num_cpus, y.gpus, y.memory_bytes, y.assumed) == (8, (), 7, ())
    assert place(program, [x])[0]["learner/0"].gpus == ("assumed-0",)


class Learner(Actor):
    def on_samples(self, item): ...


def test_the_default_range_has_ports_enough_for_hundreds_of_workers_which_do_not_listen():
    program = Program("p")
    learner = program.add("learner", Learner)
    program.link("samples", Stream(2), program.add_group("rollout", Actor, count=200), learner)
    two = ClusterSpec(hosts=(HostSpec(name="local"), HostSpec(name="x", ssh=REMOTE)))
    assert listening(program, two) == {"driver", "learner/0"}
    hosts = assumed_offers(two, HERE, program)
    assert sum(host.num_ports or 0 for host in hosts) < 200
    places, _ = place(program, hosts, listeners=listening(program, two))
    assert {place.host for place in places.values()} == {"local", "x"}
    assert listening(program, ClusterSpec()) == frozenset(), "nobody else is there to come"
