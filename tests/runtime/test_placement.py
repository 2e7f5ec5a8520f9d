"""Placement as tables, and what holds for every Program and every list of hosts."""

from __future__ import annotations

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorrl.errors import PlacementError
from actorrl.runtime.actor import Actor
from actorrl.runtime.host_specs import RoleSpec
from actorrl.runtime.placement import Host, Place, place, size_text
from actorrl.runtime.program import Program

GB = 10**9


def program(**needs: tuple) -> Program:
    """role=(count, cpu, gpu, mem), from the left as far as they matter"""
    program = Program("p")
    for role, (count, *more) in needs.items():
        asked = dict(zip(("cpu", "gpu", "mem"), more, strict=False))
        program.add_group(role, Actor, count=count, **asked)
    return program


def on(places: dict[str, Place]) -> list[str]:
    return [place.host for place in places.values()]


# ---- which host ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "needs", "expected"),
    [
        ([Host("x", 2)], {"rollout": (3,)}, "xxx"),
        ([Host("x", 2), Host("y", 2)], {"rollout": (4,)}, "xyxy"),
        ([Host("x", 1), Host("y", 3)], {"rollout": (4,)}, "yyxy"),
        ([Host("x", 2), Host("y", 2)], {"rollout": (4, 0)}, "xyxy"),
        ([Host("x", 3), Host("y", 3)], {"learner": (1,), "rollout": (5,)}, "xyxyxy"),
        ([Host("x", 3), Host("y", 3)], {"rollout": (5,), "learner": (1,)}, "yxyxyx"),
        ([Host("x", 2), Host("y", 2)], {"replay": (4,)}, "xxxx"),
        ([Host("x", 4), Host("y", 4, gpus=("G",))], {"learner": (1, 1, 1)}, "y"),
        ([Host("x", 4, 4 * GB), Host("y", 4, 9 * GB)], {"replay": (1, 1, 0, 8 * GB)}, "y"),
    ],
)
def test_rollouts_are_spread_by_cores_and_others_packed(hosts, needs, expected):
    places, _ = place(program(**needs), hosts)
    assert on(places) == list(expected)


def test_a_role_spec_says_how_a_role_is_placed_and_what_it_asks():
    hosts = [Host("x", 4, gpus=("A",)), Host("y", 4, gpus=("B",))]
    roles = {"rollout": RoleSpec(place="pack"), "replay": RoleSpec(place="spread")}
    assert on(place(program(rollout=(3,)), hosts, roles)[0]) == ["x", "x", "x"]
    assert on(place(program(replay=(3,)), hosts, roles)[0]) == ["x", "y", "x"]
    places, _ = place(program(learner=(2,)), hosts, {"learner": RoleSpec(gpu=1)})
    assert places == {"learner/0": Place("x", ("A",)), "learner/1": Place("y", ("B",))}
    places, _ = place(program(learner=(1, 1, 1)), hosts, {"learner": RoleSpec(gpu=0)})
    assert places["learner/0"].gpus == ()


def learners(count: int, gpu: float = 1) -> Program:
    """That share a host, whatever else could be."""
    made = program(learner=(count, 1, gpu), rollout=(2,))
    made.together.add("learner")
    return made


def test_actors_that_belong_together_share_a_host_that_has_room_for_all():
    one, two = Host("one", 8, gpus=("A",)), Host("two", 2, gpus=("B", "C"))
    places, _ = place(learners(2), [one, two])
    assert places["learner/0"] == Place("two", ("B",))
    assert places["learner/1"] == Place("two", ("C",))
    spread = {"learner": RoleSpec(place="spread")}
    assert on(place(learners(3, 0), [one, two], spread)[0])[:3] == ["one"] * 3
    with pytest.raises(PlacementError) as error:
        place(learners(3), [one, two])
    first, *rest = str(error.value).splitlines()
    assert first.startswith("3 actors of role learner share a host, each needs 1 GPU")
    assert rest[:2] == ["  one  room for 1 of 3", "  two  room for 2 of 3"]


def test_one_of_them_comes_back_to_where_the_others_are_or_not_at_all():
    one, two = Host("one", 8, gpus=("A", "B")), Host("two", 8, gpus=("C", "D"))
    placed = {"learner/1": Place("two", ("C",))}
    assert place(learners(2), [one, two], placed=placed)[0]["learner/0"] == Place("two", ("D",))
    with pytest.raises(PlacementError):
        place(learners(2), [one, Host("two", 8, gpus=("C",))], placed=placed)


def test_a_role_goes_to_the_hosts_that_name_it_before_hosts_without_roles():
    free, named = Host("free", 8, gpus=("F",)), Host("named", 1, gpus=("N",), roles=("rollout",))
    other = Host("other", 8, gpus=("O",), roles=("learner",))
    places, _ = place(program(rollout=(3,)), [free, named, other])
    assert on(places) == ["named"] * 3
    places, _ = place(program(rollout=(2, 1, 1)), [free, named, other])
    assert on(places) == ["named", "free"]
    with pytest.raises(PlacementError):
        place(program(rollout=(3, 1, 1)), [free, named, other])


def test_what_is_packed_goes_where_most_of_it_fits():
    hosts = [Host("x", 4, gpus=("A",)), Host("y", 4, gpus=("B", "C", "D"))]
    assert on(place(program(learner=(3, 1, 1)), hosts)[0]) == ["y", "y", "y"]
    assert on(place(program(learner=(1, 1, 1)), hosts)[0]) == ["x"]
    assert sorted(on(place(program(learner=(4, 1, 1)), hosts)[0])) == ["x", "y", "y", "y"]


# ---- which GPU -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "needs", "expected"),
    [
        ("AB", {"l": (2, 1, 1)}, ["A", "B"]),
        ("AB", {"l": (1, 1, 2)}, ["AB"]),
        ("A", {"l": (2, 1, 0.5)}, ["A", "A"]),
        ("AB", {"l": (3, 1, 0.5)}, ["A", "A", "B"]),
        ("AB", {"f": (1, 1, 0.3), "l": (1, 1, 1)}, ["B", "A"]),
        ("AB", {"f": (2, 1, 0.3), "l": (1, 1, 0.6)}, ["A", "B", "A"]),
        ("AB", {"rollout": (5, 1, 0.2)}, ["A"] * 5),
        ("A", {"rollout": (10, 1, 0.1)}, ["A"] * 10),
        ("A", {"w": (2, 1, 0)}, ["", ""]),
    ],
)
def test_gpus_are_given_out_whole_or_in_parts(gpus, needs, expected):
    places, _ = place(program(**needs), [Host("x", 8, gpus=tuple(gpus))])
    assert ["".join(place.gpus) for place in places.values()] == expected


def test_a_gpu_and_a_half_is_refused():
    with pytest.raises(PlacementError, match=r"l/0 asks for 1\.5 GPUs: whole ones"):
        place(program(l=(1, 1, 1.5)), [Host("x", 8, gpus=("A", "B"))])


# ---- what is hard ----------------------------------------------------------------------------


@pytest.mark.parametrize("needs", [{"l": (1, 1, 3)}, {"l": (3, 1, 1)}, {"l": (4, 1, 0.6)}])
def test_gpus_are_hard(needs):
    with pytest.raises(PlacementError, match=r"l/\d needs .* GPU(.|\n)*x  2 GPUs"):
        place(program(**needs), [Host("x", 8, gpus=("A", "B"))])


def test_a_refusal_has_a_reason_for_each_host():
    hosts = [
        Host("plain", 64, 8 * GB),
        Host("roles", 64, 8 * GB, ("A",), roles=("rollout", "replay")),
        Host("memory", 64, 2 * GB, ("A",)),
        Host("both", 64, 2 * GB),
        Host("part", 64, 8 * GB, ("A",), roles=("learner", "other")),
    ]
    needs = program(other=(1, 1, 0.9, 5 * GB), learner=(1, 1, 0.5, 4 * GB))
    with pytest.raises(PlacementError) as caught:
        place(needs, hosts, listeners=needs.nodes)
    assert str(caught.value).splitlines() == [
        "learner/0 needs 0.5 GPU, 4 GB of memory, a port, and no host has room for it:",
        "  plain   0 GPUs, at most 0 of one free",
        "  roles   carries only rollout, replay",
        "  memory  2 GB of 2 GB of memory free",
        "  both    0 GPUs, at most 0 of one free, 2 GB of 2 GB of memory free",
        "  part    1 GPUs, at most 0.1 of one free, 3 GB of 8 GB of memory free",
        "num_gpus=0 learns on the CPU",
    ]


def test_ports_are_hard_for_those_who_listen():
    needs = program(replay=(3,))
    two, one = [Host("x", 4, num_ports=2), Host("y", 4, num_ports=1)], Host("x", 4, num_ports=1)
    places, _ = place(needs, two, listeners=needs.nodes)
    assert sorted(on(places)) == ["x", "x", "y"]
    with pytest.raises(
        PlacementError, match=r"a port(.|\n)*x  all 1 ports for actors given out \(network.ports\)"
    ):
        place(needs, [one, two[1]], listeners=needs.nodes)
    assert on(place(needs, [one], listeners=["replay/1"])[0]) == ["x"] * 3


def test_memory_that_nobody_has_counted_is_taken_to_be_enough():
    assert on(place(program(replay=(9, 1, 0, GB)), [Host("x", 1)])[0]) == ["x"] * 9


# ---- what is only said -----------------------------------------------------------------------


def test_more_actors_than_cores_run_with_a_notice():
    _, notices = place(program(w=(3,)), [Host("x", 2)])
    assert notices == ["x: 3 actors ask for 3 cores and there are 2; they take turns"]
    assert place(program(w=(2,)), [Host("x", 2)])[1] == []
    assert place(program(w=(4, 0.5)), [Host("x", 2)])[1] == []
    assert place(program(w=(3,)), [Host("x", 2, assumed=("cores",))])[1] == []


def test_a_shared_gpu_is_said():
    _, notices = place(program(w=(2, 1, 0.5)), [Host("x", 2, gpus=("A",))])
    assert notices == ["x: 2 actors share GPU A and its memory"]


def test_a_count_that_the_program_does_not_follow_is_said():
    roles = {
        "learner": RoleSpec(count=2),
        "rollout": RoleSpec(count=1),
        "replay": RoleSpec(count=9),
    }
    _, notices = place(program(learner=(1,), rollout=(1,)), [Host("x", 2)], roles)
    assert notices == ["learner: the host list says 2, the run has 1"]


# ---- a host is lost --------------------------------------------------------------------------


def test_only_the_slots_of_a_lost_host_move():
    hosts = [Host(name, 2, gpus=(name + "0",)) for name in "xyz"]
    needs = program(rollout=(6,), learner=(1, 1, 1), replay=(2, 1, 0.5))
    before, _ = place(needs, hosts)
    lost = before["learner/0"].host
    left = [host for host in hosts if host.name != lost]
    after, _ = place(needs, left, placed=before)
    moved = {slot for slot in before if before[slot] != after[slot]}
    assert moved == {slot for slot in before if before[slot].host == lost}
    assert collections.Counter(on(after)).keys() == {host.name for host in left}


def test_a_lost_host_that_nobody_can_stand_in_for_is_a_placement_error():
    hosts = [Host("x", 2, gpus=("A",)), Host("y", 2)]
    needs = program(learner=(1, 1, 1), rollout=(2,))
    before, _ = place(needs, hosts)
    with pytest.raises(PlacementError, match="y  0 GPUs, 0 of them free"):
        place(needs, hosts[1:], placed=before)


# ---- for all ---------------------------------------------------------------------------------

ROLES = ("rollout", "replay", "learner")
a_host = st.builds(
    lambda cpus, memory, gpus, roles: (cpus, memory, gpus, roles),
    st.integers(1, 8),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sets(st.sampled_from(ROLES), max_size=2),
)
some_hosts = st.lists(a_host, min_size=1, max_size=5).map(
    lambda rows: [
        Host(f"h{i}", cpus, memory * GB, tuple(f"h{i}g{g}" for g in range(gpus)), tuple(roles))
        for i, (cpus, memory, gpus, roles) in enumerate(rows)
    ]
)
a_need = st.tuples(
    st.integers(1, 6),
    st.sampled_from([0, 0.1, 0.2, 1, 2]),
    st.sampled_from([0, 0, 0.1, 0.2, 0.3, 0.5, 1, 2]),
    st.sampled_from([0, 0, GB // 2, GB]),
)
some_needs = st.dictionaries(st.sampled_from(ROLES), a_need, min_size=1)
some_roles = st.dictionaries(
    st.sampled_from(ROLES), st.builds(RoleSpec, place=st.sampled_from(["spread", "pack", None]))
)


def check(needs: dict, hosts: list[Host], places: dict[str, Place]) -> None:
    """Every slot once, on a host that may carry it, with what it asked for, and no more given out
    than is there."""
    asked = program(**needs).nodes
    assert list(places) == list(asked)
    by_name = {host.name: host for host in hosts}
    used: collections.Counter[str] = collections.Counter()  # hundredths of a GPU, by UUID
    memory: collections.Counter[str] = collections.Counter()
    for slot, at in places.items():
        node, host = asked[slot], by_name[at.host]
        assert not host.roles or node.role in host.roles
        assert set(at.gpus) <= set(host.gpus) and len(set(at.gpus)) == len(at.gpus)
        assert len(at.gpus) == (node.gpu if node.gpu >= 1 else (node.gpu > 0))
        for gpu in at.gpus:
            used[gpu] += round(100 * min(1, node.gpu))
        memory[at.host] += node.mem
    assert all(share <= 100 for share in used.values())
    assert all(memory[host.name] <= host.memory_bytes for host in hosts)


@given(some_needs, some_hosts, some_roles)
def test_every_slot_is_placed_once_and_no_host_is_over_its_capacity(needs, hosts, roles):
    try:
        places, _ = place(program(**needs), hosts, roles)
    except PlacementError:
        return
    check(needs, hosts, places)
    assert places == place(program(**needs), hosts, roles)[0]


@given(some_needs, some_hosts, some_roles, st.data())
def test_placing_anew_moves_only_what_was_lost(needs, hosts, roles, data):
    try:
        before, _ = place(program(**needs), hosts, roles)
        lost = data.draw(st.sampled_from(hosts)).name
        left = [host for host in hosts if host.name != lost]
        after, _ = place(program(**needs), left, roles, placed=before)
    except PlacementError:
        return
    check(needs, left, after)
    assert {s for s in before if before[s] != after[s]} == {
        slot for slot, at in before.items() if at.host == lost
    }


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 16), st.sampled_from([0, 0.1, 1, 3]))
def test_hosts_that_are_equal_get_the_same_number_or_one_more(count, num_hosts, cores, cpu):
    hosts = [Host(f"h{index}", cores) for index in range(num_hosts)]
    places, _ = place(program(rollout=(count, cpu)), hosts)
    counts = collections.Counter({host.name: 0 for host in hosts})
    counts.update(on(places))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_thousand_actors_on_many_hosts_are_placed():
    hosts = [Host(f"h{index}", 16) for index in range(50)]
    places, _ = place(program(rollout=(1000,)), hosts)
    assert set(collections.Counter(on(places)).values()) == {20}


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1500, "1.5 kB"), (8 * GB, "8 GB"), (123_456_789, "123.5 MB")]
)
def test_sizes_are_said_in_words(size, text):
    assert size_text(size) == text
