"""The mailbox: who is let in, what waits for what, and in which order things are done."""

from __future__ import annotations

import time

import pytest

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.mailbox import Later, Mailbox
from actorrl.runtime.program import Link, Report, Request, State, Stream
from actorrl.wire.messages import Kind, Message
from tests.runtime.doors import HandDoor

LINKS = {
    link.name: link
    for link in (
        Link("into", Stream(2), ("b/0",), ("a/0",)),
        Link("out", Stream(1), ("a/0",), ("b/0",)),
        Link("asks", Request(1), ("a/0",), ("b/0",)),
        Link("asked", Request(1), ("b/0",), ("a/0",)),
        Link("log", Report(), ("b/0",), ("a/0",)),
        Link("weights", State(), ("b/0",), ("a/0",)),
    )
}


class Worker(Actor):
    def __init__(self) -> None:
        self.did: list = []
        self.lazy = False

    def step(self) -> None:
        self.did.append("step")

    def has_work(self) -> bool:
        return not self.lazy

    def on_stop(self) -> None:
        self.did.append("stopped")

    def on_into(self, item) -> None:
        self.did.append(("into", item.body))

    def on_asks(self, item) -> None:
        self.did.append(("asks", item.body))

    def serve_asked(self, request) -> None:
        request.respond(("answer", request.body))

    def on_log(self, item) -> None:
        self.did.append(("log", item.body))

    def lost_asks(self, target: str, number: int) -> None:
        self.did.append(("lost", target, number))

    @remote
    def add(self, a: int, b: int = 0) -> int:
        return a + b

    @remote
    def raises(self) -> None:
        raise ValueError("wrong")

    @remote
    def later(self) -> Later:
        self.answer = Later()
        return self.answer

    @remote(lane="control")
    def look(self) -> int:
        return len(self.did)


@pytest.fixture
def door():
    door = HandDoor("a/0", up=("b/0",))
    door.block_writer("weights").publish(1, {})
    return door


@pytest.fixture
def box(door):
    box = Mailbox("a/0", 1, "here", door, LINKS)
    box.adopt(Worker())
    return box


def did(box: Mailbox) -> list:
    return [what for what in box.actor.did if what != "step"]


def failure(door: HandDoor) -> dict:
    (_, message) = door.answered[-1]
    assert message.kind is Kind.FAILURE
    return message.body


def test_a_step_is_taken_when_nothing_is_missing(box):
    assert box.turn(0)
    assert box.actor.did == ["step"]


def test_no_step_without_credit_and_the_waiting_is_measured(box, door):
    box.context.stream("out").send(1)
    box.turn(0)
    assert box.actor.did == []
    door.say(Kind.CREDIT, "out", "b/0", slot=door.sent[0][1].slot)
    box.turn(0)
    assert box.actor.did == ["step"]
    assert set(box.context.waits) == {"credit", "state", "input"}


def test_no_step_before_the_first_state(box, door):
    door.blocks["weights"].version = 0
    box.turn(0)
    assert box.actor.did == []


def test_no_step_without_work(box):
    box.actor.lazy = True
    assert not box.turn(0)
    assert box.actor.did == []


def test_what_came_in_is_handled_in_order_before_a_step(box, door):
    door.say(Kind.ITEM, "into", "b/0", 1, slot=0)
    door.say(Kind.REPORT, "log", "b/0", 2)
    door.say(Kind.ITEM, "into", "b/0", 3, slot=1)
    box.turn(0)
    assert box.actor.did == [("into", 1), ("log", 2), ("into", 3), "step"]
    assert [(m.kind, m.slot) for _, m in door.answered] == [(Kind.CREDIT, 0), (Kind.CREDIT, 1)]


def test_a_request_is_served(box, door):
    door.say(Kind.REQUEST, "asked", "b/0", 5, slot=0)
    box.turn(0)
    ((_, answer),) = door.answered
    assert (answer.kind, answer.body) == (Kind.RESPONSE, ("answer", 5))


@pytest.mark.parametrize(
    ("kind", "name", "source"),
    [
        (Kind.ITEM, "into", "c/0"),  # not a source of that link
        (Kind.ITEM, "out", "b/0"),  # the wrong way
        (Kind.ITEM, "nothing", "b/0"),
        (Kind.ITEM, "asked", "b/0"),  # no stream
        (Kind.REQUEST, "into", "b/0"),
        (Kind.CREDIT, "into", "b/0"),
        (Kind.CREDIT, "asks", "b/0"),
        (Kind.RESPONSE, "asked", "b/0"),
        (Kind.RESPONSE, "out", "b/0"),
        (Kind.REPORT, "into", "b/0"),
        (Kind.CREDIT, "out", "c/0"),
    ],
)
def test_what_no_link_allows_is_dropped_and_counted(box, door, kind, name, source):
    door.say(kind, name, source, slot=0)
    box.turn(0)
    assert did(box) == [] and door.drops["not a peer of that link"] == 1


def test_an_answer_of_a_peer_that_was_restarted_meanwhile_is_dropped(box, door):
    box.context.requests("asks").ask("b/0", 1)
    answer = door.say(Kind.RESPONSE, "asks", "b/0", "late", slot=door.sent[0][1].slot)
    door.arrived.clear()
    door.change(b_0=2)
    door.receive(0)  # the new table was seen after the answer came in, before it was handled
    box._handle(answer)
    assert did(box) == [] and door.drops["from an old incarnation"] == 1
    box.turn(0)
    assert did(box) == [("lost", "b/0", 1)]


def test_a_credit_that_comes_while_a_method_waits_counts_at_once_and_the_rest_has_its_turn(
    box, door
):
    box.context.stream("out").send(1)
    box.context.requests("asks").ask("b/0", 1)
    out, asks = (message for _, message in door.sent)
    box._answer_while_waiting(
        Message(Kind.CREDIT, "out", slot=out.slot, source="b/0", incarnation=1)
    )
    box._answer_while_waiting(
        Message(Kind.RESPONSE, "asks", 7, slot=asks.slot, source="b/0", incarnation=1)
    )
    assert box.context.stream("out").has_credit and did(box) == []
    box.turn(0)
    assert did(box) == [("asks", 7)]


def call(door: HandDoor, method: str, *args, **fields) -> None:
    door.say(Kind.CALL, method, "b/0", [list(args), {}], number=4, **fields)


def test_a_call_runs_and_is_answered(box, door):
    call(door, "add", 2, 3)
    box.turn(0)
    ((asked, reply),) = door.answered
    assert (reply.kind, reply.body, reply.number) == (Kind.REPLY, 5, 4)
    assert asked.source == "b/0"


def test_a_call_whose_deadline_has_passed_does_not_run(box, door):
    call(door, "add", 2, deadline=time.monotonic() - 1)
    box.turn(0)
    assert failure(door)["type_name"] == "CallTimeout" and failure(door)["executed"] == "no"


@pytest.mark.parametrize("method", ["step", "on_into", "nothing", "__init__", "did"])
def test_only_remote_methods_can_be_called(box, door, method):
    call(door, method)
    box.turn(0)
    assert failure(door)["executed"] == "no" and "no remote method" in failure(door)["message"]


def test_an_error_names_the_actor_its_process_and_its_host(box, door):
    call(door, "raises")
    box.turn(0)
    body = failure(door)
    assert body["type_name"] == "ValueError" and body["executed"] == "yes"
    assert body["where"].startswith("a/0 (incarnation 1, pid ") and "host here" in body["where"]
    assert "in raises" in body["traceback"]


def test_arguments_that_are_none_are_an_error_of_the_call(box, door):
    door.say(Kind.CALL, "add", "b/0", 5, number=1)
    box.turn(0)
    assert failure(door)["type_name"] == "TypeError"


def test_an_error_of_a_tell_ends_the_actor(box, door):
    door.say(Kind.TELL, "raises", "b/0", [[], {}])
    with pytest.raises(ValueError, match="wrong"):
        box.turn(0)


@pytest.mark.parametrize(
    ("method", "body", "reason"),
    [
        ("nothing", [[], {}], "told a method that is not there"),
        *[
            ("add", body, "told a method without arguments")
            for body in (5, None, "ab", [1], [5, {}], [[], 5], [[], []], [[1], {7: 8}], [[], {}, 1])
        ],
    ],
)
def test_a_tell_that_makes_no_sense_is_dropped_and_counted(box, door, method, body, reason):
    door.say(Kind.TELL, method, "b/0", body)
    box.turn(0)
    assert door.drops == {reason: 1}


def test_a_method_can_answer_later(box, door):
    call(door, "later")
    box.turn(0)
    assert door.answered == []
    box.actor.answer.resolve("now")
    assert door.answered[0][1].body == "now"


def test_an_answer_that_cannot_be_sent_is_an_error_that_ran(box, door):
    call(door, "later")
    box.turn(0)
    box.actor.answer.resolve(object())
    assert failure(door)["executed"] == "yes" and "builtins.object" in failure(door)["message"]


def test_posted_actions_run_once_each_and_starve_nobody(box, door):
    def again() -> None:
        box.actor.did.append("posted")
        box.context.post(again)

    box.context.post(again)
    for number in range(3):
        door.say(Kind.ITEM, "into", "b/0", number, slot=0)
        box.turn(0)
    assert did(box) == [("into", 0), "posted", ("into", 1), "posted", ("into", 2), "posted"]


def test_timers_run_when_they_are_due(box, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(box._timers, "_clock", lambda: now[0])
    box.actor.lazy = True
    box.context.every(10.0, lambda: box.actor.did.append(now[0]))
    for now[0] in (105.0, 110.0, 111.0, 119.0, 145.0, 146.0):
        box.turn(0)
    assert did(box) == [110.0, 145.0]


def test_a_stop_ends_the_loop_and_calls_on_stop_once(box):
    box.stop()
    box.run()
    assert box.actor.did == ["stopped"]


@pytest.mark.parametrize(("code", "is_clean"), [(None, True), (0, True), (3, False)])
def test_an_actor_can_end_itself(box, code, is_clean):
    def end() -> None:
        raise SystemExit(code)

    box.context.post(end)
    if is_clean:
        box.run()
        assert did(box) == ["stopped"]
    else:
        with pytest.raises(SystemExit):
            box.run()


def test_the_control_lane_runs_control_methods_only(box, door):
    for method in ("look", "add"):
        box.run_method(door.say(Kind.CALL, method, "b/0", [[], {}]), "control")
    (_, looked), (_, refused) = door.answered
    assert looked.body == 0 and refused.body["executed"] == "no"


def test_the_main_lane_runs_control_methods_too(box, door):
    call(door, "look")
    box.turn(0)
    assert door.answered[0][1].body == 0


@pytest.mark.parametrize("stopping", [False, True])
def test_what_is_in_flight_when_the_run_ends_is_no_loss(box, door, stopping):
    events: list = []
    box.on_event = lambda event, details: events.append((event, details["elements"]))
    box.context.stream("out").send(1, rows=7)
    if stopping:
        box.stop()
    door.change(b_0=0)
    box.turn(0)
    assert events == ([] if stopping else [("elements_lost", 1)])
