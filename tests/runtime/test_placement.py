"""Placement as tables."""

from __future__ import annotations

import pytest

from actorrl.errors import PlacementError
from actorrl.runtime.actor import Actor
from actorrl.runtime.placement import Host, Place, place
from actorrl.runtime.program import Program


def program(**needs: tuple[int, float, float]) -> Program:
    """role=(count, cpu, gpu)"""
    program = Program("p")
    for role, (count, cpu, gpu) in needs.items():
        program.add_group(role, Actor, count=count, cpu=cpu, gpu=gpu)
    return program


def on(places: dict[str, Place]) -> list[str]:
    return [place.host for place in places.values()]


@pytest.mark.parametrize(
    ("hosts", "needs", "expected"),
    [
        ([Host("x", 2, 0)], {"w": (3, 1, 0)}, ["x", "x", "x"]),
        ([Host("x", 2, 0), Host("y", 2, 0)], {"w": (4, 1, 0)}, ["x", "y", "x", "y"]),
        ([Host("x", 1, 0), Host("y", 3, 0)], {"w": (4, 1, 0)}, ["x", "y", "y", "y"]),
        ([Host("x", 4, 0), Host("y", 4, 0, ("G",))], {"l": (1, 1, 1)}, ["y"]),
    ],
)
def test_cpus_steer_the_spreading(hosts, needs, expected):
    places, _ = place(program(**needs), hosts)
    assert on(places) == expected


@pytest.mark.parametrize(
    ("gpus", "needs", "expected"),
    [
        (("A", "B"), {"l": (2, 1, 1)}, [("A",), ("B",)]),
        (("A", "B"), {"l": (1, 1, 2)}, [("A", "B")]),
        (("A",), {"l": (2, 1, 0.5)}, [("A",), ("A",)]),
        (("A", "B"), {"l": (3, 1, 0.5)}, [("A",), ("A",), ("B",)]),
        (("A", "B"), {"f": (1, 1, 0.3), "l": (1, 1, 1)}, [("A",), ("B",)]),
        (("A",), {"w": (2, 1, 0)}, [(), ()]),
    ],
)
def test_gpus_are_given_out_whole_or_in_parts(gpus, needs, expected):
    places, _ = place(program(**needs), [Host("x", 8, 0, gpus)])
    assert [place.gpus for place in places.values()] == expected


@pytest.mark.parametrize("needs", [{"l": (1, 1, 3)}, {"l": (3, 1, 1)}, {"l": (4, 1, 0.6)}])
def test_gpus_are_hard(needs):
    with pytest.raises(PlacementError, match=r"l/\d needs .* GPU(.|\n)*x: 2 GPUs(.|\n)*num_gpus=0"):
        place(program(**needs), [Host("x", 8, 0, ("A", "B"))])


def test_more_actors_than_cores_run_with_a_notice():
    _, notices = place(program(w=(3, 1, 0)), [Host("x", 2, 0)])
    assert notices == ["x: 3 actors on 2 cores"]
    assert place(program(w=(2, 1, 0)), [Host("x", 2, 0)])[1] == []
