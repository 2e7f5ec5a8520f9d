"""Line watch: a table of events and times, and what it says of the line."""

from __future__ import annotations

import zmq

from actorrl.wire.line_watch import PATIENCE_S, REDIAL_S, LineWatch

ADDRESS = "tcp://10.0.0.1:43000"


def watch() -> LineWatch:
    lines = LineWatch()
    lines.dialled("b", ADDRESS, 0.0)
    return lines


def connected(lines: LineWatch, now: float) -> None:
    lines.event("b", zmq.EVENT_CONNECTED, now)
    lines.event("b", zmq.EVENT_HANDSHAKE_SUCCEEDED, now)


def test_a_line_that_comes_up_in_time_is_in_no_trouble():
    lines = watch()
    assert lines.next_look() == PATIENCE_S
    connected(lines, 1.0)
    assert lines.next_look() is None
    assert lines.look(100.0) == [] and lines.trouble == {}


def test_patience_has_an_end_and_the_reason_is_the_last_that_was_heard():
    for event, words in (
        (zmq.EVENT_CONNECT_DELAYED, "nobody accepts connections"),
        (zmq.EVENT_CONNECTED, "not answered"),
        (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, "broken off"),
        (zmq.EVENT_HANDSHAKE_FAILED_AUTH, "does not know the key"),
        (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, "does not speak CURVE"),
    ):
        lines = watch()
        lines.event("b", event, 0.5)
        lines.look(PATIENCE_S - 0.1)
        assert lines.trouble == {}
        lines.look(PATIENCE_S)
        assert words in lines.trouble["b"] and ADDRESS in lines.trouble["b"]
        lines.dialled("b", ADDRESS, 8.0)
        connected(lines, 9.0)
        assert lines.trouble == {}


def test_a_lost_line_is_broken_once_and_not_in_trouble_until_it_is_dialled_in_vain():
    lines = watch()
    connected(lines, 1.0)
    assert lines.event("b", zmq.EVENT_DISCONNECTED, 50.0)
    assert not lines.event("b", zmq.EVENT_DISCONNECTED, 50.1)
    assert lines.look(100.0) == [] and lines.trouble == {}
    lines.dialled("b", ADDRESS, 200.0)
    assert lines.look(200.1) == [] and lines.next_look() == 200.0 + PATIENCE_S
    lines.look(200.0 + PATIENCE_S)
    assert "b" in lines.trouble


def test_attempts_that_fail_one_after_the_other_count_from_the_first():
    lines = watch()
    lines.event("b", zmq.EVENT_HANDSHAKE_FAILED_AUTH, 2.5)
    assert lines.event("b", zmq.EVENT_DISCONNECTED, 2.5) is False
    assert lines.next_look() == PATIENCE_S
    assert lines.look(2.6) == []
    assert lines.look(2.5 + REDIAL_S) == ["b"]
    lines.hung_up("b")  # what the endpoint does then
    assert lines.look(4.0) == [] and "b" in lines.trouble
    lines.dialled("b", ADDRESS, 4.0)
    assert "b" in lines.trouble
    connected(lines, 5.0)
    assert lines.trouble == {}


def test_another_address_or_nobody_starts_afresh():
    lines = watch()
    lines.look(PATIENCE_S)
    lines.dialled("b", "tcp://10.0.0.2:43000", 10.0)
    assert lines.trouble == {} and lines.next_look() == 10.0 + PATIENCE_S
    lines.look(20.0)
    lines.forget("b")
    assert lines.trouble == {} and lines.next_look() is None
    assert not lines.event("b", zmq.EVENT_CONNECTED, 21.0)


def test_a_line_that_was_closed_while_it_was_dialled_is_in_no_trouble():
    lines = watch()
    lines.hung_up("b")
    assert lines.next_look() is None
    assert lines.look(100.0) == [] and lines.trouble == {}
