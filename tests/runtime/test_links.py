"""Links at one end: credit bounds what is in flight, and whatever is dropped or lost is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorrl.errors import ActorRLError
from actorrl.runtime.credit_links import MAX_PENDING, RequestOut, StreamOut
from actorrl.runtime.links import NOTHING_SEEN, Asked, Item, ReportOut, StateIn, StateOut
from actorrl.runtime.program import Link, Report, Request, State, Stream
from actorrl.wire.messages import Kind, Message
from actorrl.wire.slabs import own_memory
from tests.runtime.doors import HandDoor


def stream(door: HandDoor, credit: int = 2, full: str = "wait", targets=("b/0",)) -> StreamOut:
    out = StreamOut(Link("data", Stream(credit, full), ("a/0",), targets), door)
    door.on_peers = lambda changed: [out.peer_changed(name) for name in changed]
    return out


def sent(door: HandDoor) -> list:
    return [(to, message.body) for to, message in door.sent]


def credit(out: StreamOut, message: Message, source: str = "b/0") -> None:
    out.credit(Message(Kind.CREDIT, "data", slot=message.slot, source=source, incarnation=1))


def test_a_stream_sends_as_many_elements_as_it_has_credit():
    door = HandDoor(up=("b/0",))
    out = stream(door, credit=2)
    for number in range(4):
        out.send(number)
    assert sent(door) == [("b/0", 0), ("b/0", 1)]
    assert not out.ready and not out.has_credit
    credit(out, door.sent[0][1])
    credit(out, door.sent[1][1])
    assert [body for _, body in sent(door)] == [0, 1, 2, 3]
    assert out.sent == 4 and out.dropped == out.lost == 0


def test_a_handler_that_sends_far_beyond_the_credit_is_told_so():
    out = stream(HandDoor(up=("b/0",)), credit=1)
    for number in range(1 + MAX_PENDING):
        out.send(number)
    with pytest.raises(ActorRLError, match="hold what comes in until the stream is ready"):
        out.send(-1)


def test_elements_in_flight_own_different_slots_and_carry_rising_numbers():
    door = HandDoor(up=("b/0",))
    out = stream(door, credit=3)
    for number in range(3):
        out.send(number)
    assert {message.slot for _, message in door.sent} == {0, 1, 2}
    assert [message.number for _, message in door.sent] == [1, 2, 3]


def test_a_credit_counts_once():
    door = HandDoor(up=("b/0",))
    out = stream(door, credit=1)
    out.send(1)
    for _ in range(3):
        credit(out, door.sent[0][1])
    out.send(2)
    out.send(3)
    assert len(door.sent) == 2
    credit(out, Message(Kind.CREDIT, "data", slot=77))
    assert len(door.sent) == 2


def test_targets_take_turns_and_one_without_credit_is_passed_over():
    door = HandDoor(up=("b/0", "b/1", "b/2"))
    out = stream(door, credit=1, targets=("b/0", "b/1", "b/2"))
    out.send(0)
    out.send(1)
    credit(out, door.sent[1][1], "b/1")
    out.send(2)
    out.send(3)
    assert sent(door) == [("b/0", 0), ("b/1", 1), ("b/2", 2), ("b/1", 3)]


def test_an_element_for_one_target_goes_there_or_waits():
    door = HandDoor(up=("b/0", "b/1"))
    out = stream(door, credit=1, targets=("b/0", "b/1"))
    out.send("x", to="b/1")
    out.send("y", to="b/1")
    assert sent(door) == [("b/1", "x")]
    credit(out, door.sent[0][1], "b/1")
    assert sent(door) == [("b/1", "x"), ("b/1", "y")]


def test_a_stream_that_drops_keeps_the_newest_and_counts():
    door = HandDoor(up=("b/0",))
    out = stream(door, credit=2, full="drop_oldest")
    for number in range(10):
        assert out.ready
        out.send(number)
    assert out.dropped == 6  # two in flight, two kept
    assert list(door.drops.values()) == [6]
    credit(out, door.sent[0][1])
    credit(out, door.sent[1][1])
    assert [body for _, body in sent(door)] == [0, 1, 8, 9]


def test_nothing_is_sent_to_a_target_that_is_down_and_all_when_it_is_up():
    door = HandDoor()
    out = stream(door)
    assert not out.ready
    out.send(1)
    assert door.sent == []
    door.change(b_0=1)
    door.take_peers()
    assert sent(door) == [("b/0", 1)]


def test_a_restart_of_the_target_frees_its_slots_and_counts_what_was_lost():
    door = HandDoor(up=("b/0",))
    out = stream(door, credit=2)
    out.send(1)
    out.send(2)
    door.change(b_0=0)
    door.take_peers()
    assert out.lost == 2 and not out.ready
    out.send(3)
    door.change(b_0=2)
    door.take_peers()
    assert [body for _, body in sent(door)] == [1, 2, 3]
    assert out.sent == 3 and out.lost == 2
    assert list(door.drops.values()) == [2]


def test_a_full_line_keeps_the_element_and_its_slot():
    door = HandDoor(up=("b/0",))
    out = stream(door, credit=1)
    door.full.add("b/0")
    out.send(1)
    assert door.sent == [] and out.sent == 0
    door.full.clear()
    out.flush()
    assert sent(door) == [("b/0", 1)]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["send", "credit", "restart b/0", "restart b/1", "down b/1", "full"]),
        max_size=60,
    ),
    st.integers(1, 3),
    st.sampled_from(["wait", "drop_oldest"]),
)
def test_whatever_happens_nothing_is_in_flight_beyond_credit_and_nothing_vanishes(
    steps, num_credit, full
):
    door = HandDoor(up=("b/0", "b/1"))
    out = stream(door, num_credit, full, ("b/0", "b/1"))
    in_flight: dict[str, list[Message]] = {"b/0": [], "b/1": []}
    produced = lost = 0
    for step in steps:
        already = len(door.sent)
        name = step.rpartition(" ")[2]
        if step == "send":
            out.send(produced)
            produced += 1
        elif step == "credit":
            for target, messages in in_flight.items():
                if messages:
                    credit(out, messages.pop(0), target)
                    break
        elif step == "full":
            door.full ^= {"b/0"}
        else:
            lost += len(in_flight[name])
            in_flight[name].clear()
            number = 0 if step.startswith("down") else door.up.get(name, 1) + 1
            door.change(**{name.replace("/", "_"): number})
            door.take_peers()
        for to, message in door.sent[already:]:
            in_flight[to].append(message)
        for messages in in_flight.values():
            assert len(messages) <= num_credit
            assert len({message.slot for message in messages}) == len(messages)
    bodies = [message.body for _, message in door.sent]
    assert bodies == sorted(set(bodies))  # in order, none twice
    assert out.lost == lost and out.sent == len(bodies)
    assert produced == out.sent + out.dropped + len(out._pending)
    assert full == "drop_oldest" or out.dropped == 0


def request(door: HandDoor, in_flight: int = 1, targets=("b/0", "b/1")) -> tuple[RequestOut, list]:
    lost: list[tuple[str, int]] = []
    link = Link("ask", Request(in_flight), ("a/0",), targets)
    out = RequestOut(link, door, lambda target, number: lost.append((target, number)))
    door.on_peers = lambda changed: [out.peer_changed(name) for name in changed]
    return out, lost


def response(door: HandDoor, index: int) -> Message:
    to, asked = door.sent[index]
    return Message(Kind.RESPONSE, "ask", slot=asked.slot, source=to, incarnation=door.up.get(to, 1))


def test_at_most_so_many_requests_are_in_flight_per_target():
    door = HandDoor(up=("b/0", "b/1"))
    out, _ = request(door, in_flight=2)
    assert [out.ask("b/0", number) for number in range(3)] == [True, True, False]
    assert out.ask("b/1") and out.in_flight("b/0") == 2 and out.in_flight("b/1") == 1
    out.give_back(response(door, 0))
    assert out.can_ask("b/0") and out.in_flight("b/0") == 1


def test_who_is_down_cannot_be_asked():
    door = HandDoor(up=("b/1",))
    out, _ = request(door)
    assert out.up() == ["b/1"] and not out.can_ask("b/0") and not out.ask("b/0")


def test_a_lost_target_is_told_with_the_number_of_requests_that_nobody_will_answer():
    door = HandDoor(up=("b/0", "b/1"))
    out, lost = request(door, in_flight=2)
    out.ask("b/0")
    out.ask("b/0")
    door.change(b_0=0)
    door.take_peers()
    door.change(b_0=2)
    door.take_peers()
    assert lost == [("b/0", 2), ("b/0", 0)] and out.lost == 2
    assert door.drops.total() == 2
    assert out.can_ask("b/0")


def test_an_answer_held_since_before_a_restart_gives_no_slot_back():
    door = HandDoor(up=("b/0",))
    out, _ = request(door)
    out.ask("b/0")
    held = Item(response(door, 0), out.give_back)
    held.hold()
    door.change(b_0=2)
    door.take_peers()
    out.ask("b/0")
    held.release()
    assert not out.can_ask("b/0"), "the slot of the successor's request was given away"


def test_an_item_is_released_once_and_its_arrays_go_with_it():
    given: list[Message] = []
    message = Message(Kind.ITEM, "x", {"n": 1}, {"a": np.zeros(3)}, source="b/0", incarnation=4)
    item = Item(message, given.append)
    assert (item.source, item.incarnation, item.body) == ("b/0", 4, {"n": 1})
    item.release()
    item.release()
    assert given == [message] and item.arrays == {}


def test_a_request_is_answered_once():
    door = HandDoor(up=("b/0",))
    message = Message(Kind.REQUEST, "ask", 1, slot=1, source="b/0")
    asked = Asked(message, door, 2)
    assert asked.respond({"v": 1})
    ((to, answer),) = door.answered
    assert to is message and (answer.kind, answer.slot) == (Kind.RESPONSE, 1)
    with pytest.raises(AssertionError, match="once"):
        asked.respond({})


def test_no_room_is_given_where_the_successors_answer_may_lie():
    door = HandDoor(up=("b/0",))
    door.room = lambda *slot: pytest.fail("its successor has this slot now")
    asked = Asked(Message(Kind.REQUEST, "ask", slot=0, source="b/0", incarnation=1), door, 1)
    door.change(b_0=2)
    door.take_peers()
    assert asked.room() is own_memory


def test_a_response_to_who_has_gone_is_false():
    assert not Asked(Message(Kind.REQUEST, "ask", source="b/0"), HandDoor(), 1).respond(None)


def test_a_report_is_dropped_and_counted_when_there_is_no_room():
    door = HandDoor(up=("b/0",))
    out = ReportOut(Link("log", Report(), ("a/0",), ("b/0",)), door)
    out.send({"x": 1})
    door.full.add("b/0")
    out.send({"x": 2})
    door.up.clear()
    out.send({"x": 3})
    assert out.dropped == 2 and sent(door) == [("b/0", {"x": 1})]
    assert door.drops == {"log: dropped": 2}


def test_a_state_is_read_as_it_was_last_published():
    door = HandDoor()
    link = Link("weights", State(), ("a/0",), ("b/0",))
    out, into = StateOut(link, door, NOTHING_SEEN), StateIn(link, door)
    assert into.version == 0 and out.newest_version() == 0
    out.publish(3, {"w": np.ones(2)})
    assert into.version == 3 and into.read()[1]["w"].tolist() == [1, 1]


def test_room_is_asked_of_the_slot_that_the_next_element_will_have():
    door = HandDoor(up=("b/0", "b/1"))
    asked = []
    door.room = lambda *slot: asked.append(slot)
    out = stream(door, targets=("b/0", "b/1"))
    out.room()
    out.send({}, to=None)
    out.room()
    assert asked[0] == ("b/0", out.name, door.sent[0][1].slot, 2)
    assert asked[1][0] == "b/1"


def test_without_credit_there_is_no_room_but_in_the_own_memory():
    door = HandDoor(up=("b/0",))
    out = stream(door)
    for _ in range(3):
        out.send({})  # the last one waits, and may lie in the slot that is free next
    assert out.room() is own_memory
