"""Programs: what contradicts itself is refused where it is written; a Program can be printed."""

from __future__ import annotations

import pytest

from actorrl.errors import ProgramError
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.program import Program, Report, Request, State, Stream
from actorrl.runtime.refs import DRIVER


class Worker(Actor):
    def on_answers(self, item): ...


class Learner(Actor):
    def on_samples(self, item): ...

    def serve_answers(self, request): ...

    @remote
    def train(self): ...


def cast() -> tuple[Program, dict]:
    program = Program("p")
    workers = program.add_group("worker", Worker, count=3)
    learner = program.add("learner", Learner, gpu=1)
    return program, {"w": workers, "l": learner, "w0": workers[0], "d": DRIVER}


def test_slots_are_numbered_within_their_role():
    program, ends = cast()
    assert list(program.nodes) == ["worker/0", "worker/1", "worker/2", "learner/0"]
    assert [ref.name for ref in ends["w"]] == ["worker/0", "worker/1", "worker/2"]
    assert len(ends["w"]) == 3 and repr(ends["l"]) == "<learner/0>"


@pytest.mark.parametrize(
    ("name", "kind", "source", "target", "says"),
    [
        ("samples", Stream(), "l", "w", "Worker has no method on_samples"),
        ("answers", Request(), "l", "w", "Learner has no method on_answers"),
        ("other", Request(), "w", "l", "no method on_other"),
        ("samples", Stream(0), "w", "l", "lets nothing through"),
        ("answers", Request(0), "w", "l", "lets nothing through"),
        ("no good", State(), "w0", "l", "no link name"),
        ("samples", Stream(), "w", "d", "takes no stream"),
        ("answers", Request(), "w", "d", "takes no request"),
        ("samples", Stream(), "d", "l", "not the source of a stream"),
        ("weights", State(), "w", "l", "one writer"),
        ("weights", State(), "l", [], "no end of a link"),
        ("samples", Stream(), "stranger", "l", "no end of a link"),
    ],
)
def test_a_link_that_cannot_work_is_refused(name, kind, source, target, says):
    program, ends = cast()
    with pytest.raises(ProgramError, match=says):
        program.link(name, kind, ends.get(source, source), ends.get(str(target), target))
    assert program.links == {}


def test_a_report_has_one_reader():
    program, ends = cast()
    other = program.add_group("learner", Learner, count=2)
    with pytest.raises(ProgramError, match="one reader"):
        program.link("samples", Report(), ends["w"], other)


def test_an_empty_group_is_no_end_of_a_link_but_can_be_printed():
    program, ends = cast()
    nobody = program.add_group("nobody", Worker, count=0)
    with pytest.raises(ProgramError, match="nobody is at one of its ends"):
        program.link("samples", Stream(), nobody, ends["l"])
    assert "nobody" not in str(program)


def test_names_are_unique_and_actors_belong_to_the_program():
    program, ends = cast()
    program.link("samples", Stream(), ends["w"], ends["l"])
    with pytest.raises(ProgramError, match="two links"):
        program.link("samples", Stream(), ends["w"], ends["l"])
    stranger = Program("q").add("stranger", Learner)
    with pytest.raises(ProgramError, match="no actor here"):
        program.link("other", State(), stranger, ends["l"])


@pytest.mark.parametrize(
    ("role", "cls", "says"),
    [
        ("a b", Worker, "no role name"),
        ("driver", Worker, "no role name"),
        ("a/0", Worker, "no role name"),
        ("a", dict, "not a subclass of Actor"),
        ("a", Worker(), "not a subclass of Actor"),
    ],
)
def test_an_actor_that_cannot_be_is_refused(role, cls, says):
    with pytest.raises(ProgramError, match=says):
        Program("p").add(role, cls)


def test_a_way_of_being_full_that_does_not_exist_is_refused():
    with pytest.raises(ProgramError, match="'wait' or 'drop_oldest'"):
        Stream(full="drop")


def test_a_program_prints_its_actors_and_what_flows_between_them():
    program, ends = cast()
    program.link("samples", Stream(credit=4), ends["w"], ends["l"])
    program.link("weights", State(), ends["l"], ends["w"])
    program.link("answers", Request(2), ends["w"], ends["l"])
    assert str(program).splitlines() == [
        "Program p",
        "  worker/0..2          Worker",
        "  learner/0            Learner  gpu=1",
        "  samples    worker/0..2 -> learner/0       stream(credit=4, full=wait)",
        "  weights    learner/0 -> worker/0..2       state(newest)",
        "  answers    worker/0..2 -> learner/0       request(in_flight=2)",
    ]


def test_what_a_role_asks_of_its_host_can_be_changed():
    program, _ = cast()
    program.require("learner", gpu=0.5, mem=7)
    asked = {node.name: (node.cpu, node.gpu, node.mem) for node in program.nodes.values()}
    assert asked == {
        "worker/0": (1, 0, 0), "worker/1": (1, 0, 0), "worker/2": (1, 0, 0),
        "learner/0": (1, 0.5, 7),
    }  # fmt: skip


def test_a_reference_knows_the_methods_of_its_class():
    _, ends = cast()
    with pytest.raises(AttributeError, match=r"no remote method 'trian'; it has: train"):
        _ = ends["l"].trian


def test_what_may_be_on_its_way_is_the_credit_of_the_streams_from_or_to_somebody():
    program, ends = cast()
    program.link("samples", Stream(credit=4), ends["w"], ends["l"])
    workers = {"worker/0", "worker/1", "worker/2"}
    assert program.in_flight_at_most(set()) == 0
    assert program.in_flight_at_most({"worker/1"}) == 4
    assert program.in_flight_at_most(workers) == 12
    assert program.in_flight_at_most({"learner/0"}) == 12
    assert program.in_flight_at_most(workers | {"learner/0"}) == 12
