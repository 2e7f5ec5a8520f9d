"""Calls: what `executed` says, whatever happens to the two ends."""

from __future__ import annotations

import threading

import pytest

from actorrl.errors import ActorDied, CallCycle, CallError, CallTimeout, RemoteError, WireError
from actorrl.runtime import calls
from actorrl.runtime.calls import MAX_UNSENT, Caller
from actorrl.runtime.failure import Failure
from actorrl.runtime.refs import NO_LIMIT, ActorRef, gather
from actorrl.wire.messages import Kind, Message
from tests.runtime.clusters import wait_until
from tests.runtime.doors import HandDoor

B = "b/0"


def caller_of(door: HandDoor, **options) -> Caller:
    caller = Caller(door, **options)
    door.on_peers = caller.peers_changed
    return caller


def call(caller: Caller, to: str = B, method: str = "add", timeout_s: float = 60.0, **kwargs):
    return caller.call(to, method, (1,), kwargs, timeout_s, "main")


def answer(door: HandDoor, message: Message, value: object = None, source: str = B) -> None:
    door.say(Kind.REPLY, message.name, source, value, number=message.number)


def fail(door: HandDoor, message: Message, error: Exception, executed: str) -> None:
    body = Failure.of(error, "b/0 (pid 7, host h)", executed).to_body()
    door.say(Kind.FAILURE, message.name, B, body, number=message.number)


def test_a_call_that_is_answered_returns_the_value():
    door = HandDoor(up=(B,))
    future = call(caller_of(door), k=2)
    ((to, message),) = door.sent
    assert (to, message.kind, message.name, message.body) == (B, Kind.CALL, "add", [[1], {"k": 2}])
    assert not future.done()
    answer(door, message, 5)
    assert future.done() and future.result() == 5


@pytest.mark.parametrize(
    ("error", "executed", "raised"),
    [
        (ValueError("bad"), "yes", RemoteError),
        (AttributeError("no remote method"), "no", RemoteError),
        (CallTimeout("late", "no"), "no", CallTimeout),  # it was not run: its deadline had passed
        (CallTimeout("its own call", "no"), "yes", RemoteError),  # the method raised this itself
    ],
)
def test_an_error_there_says_whether_the_method_ran(error, executed, raised):
    door = HandDoor(up=(B,))
    future = call(caller_of(door))
    fail(door, door.sent[0][1], error, executed)
    with pytest.raises(raised) as caught:
        future.result()
    assert type(caught.value) is raised and caught.value.executed == executed


def test_a_death_during_the_call_leaves_open_whether_it_ran():
    door = HandDoor(up=(B,))
    future = call(caller_of(door))
    door.change(b_0=0)
    with pytest.raises(ActorDied, match=r"b/0 died during add\(\)") as caught:
        future.result()
    assert caught.value.executed == "maybe"


def test_a_call_to_who_is_down_waits_and_is_sent_once_it_is_up():
    door = HandDoor()
    caller = caller_of(door)
    futures = [call(caller) for _ in range(3)]
    assert door.sent == []
    door.change(b_0=1)
    assert not futures[0].done()
    assert len(door.sent) == 3
    for _, message in door.sent:
        answer(door, message, message.number)
    assert gather(futures) == [1, 2, 3]


def test_a_call_that_was_never_sent_was_not_executed():
    future = call(caller_of(HandDoor()), timeout_s=0.001)
    with pytest.raises(CallTimeout, match="not up within") as caught:
        future.result()
    assert caught.value.executed == "no"


def test_a_call_that_was_sent_and_never_answered_may_have_been_executed():
    door = HandDoor(up=(B,))
    caller = caller_of(door)
    future = call(caller, timeout_s=0.001)
    with pytest.raises(CallTimeout, match="no answer within") as caught:
        future.result()
    assert caught.value.executed == "maybe"
    answer(door, door.sent[0][1], 5)  # too late: dropped
    caller.receive(0)
    with pytest.raises(CallTimeout):
        future.result()
    assert caller._open == {} and door.drops == {"answer after the deadline of its call": 1}


def test_an_answer_that_another_thread_took_at_the_deadline_counts():
    door, waits = HandDoor(up=(B,)), threading.Event()
    door.wake = waits.set  # by whoever wants the turn that another has
    caller = caller_of(door)
    future = call(caller)
    future.deadline = 0.0
    results: list[object] = []
    waiter = threading.Thread(target=lambda: results.append(future.result()))
    with caller._turns.take():
        waiter.start()
        assert waits.wait(30)
        answer(door, door.sent[0][1], 5)
        caller.receive(0)
    waiter.join(30)
    assert results == [5]


def test_so_many_calls_wait_for_a_slot_and_no_more_and_another_slot_is_not_held_up():
    door = HandDoor(up=("c/0",))
    caller = caller_of(door)
    futures = [call(caller) for _ in range(MAX_UNSENT)]
    with pytest.raises(CallError, match=r"4096 calls wait until b/0 is up: b/0\.add\(\)") as caught:
        call(caller)
    assert caught.value.executed == "no" and len(caller._open) == MAX_UNSENT
    call(caller, "c/0")
    assert [to for to, _ in door.sent] == ["c/0"]
    door.change(b_0=1)
    assert not futures[0].done()
    assert [message.number for to, message in door.sent if to == B] == [f.number for f in futures]
    call(caller)


def test_so_many_calls_are_open_and_no_more(monkeypatch):
    monkeypatch.setattr(calls, "MAX_OPEN", 300)
    door = HandDoor(up=(B,))
    caller = caller_of(door)
    for _ in range(300):
        call(caller)
    with pytest.raises(CallError, match="have no answer yet") as caught:
        call(caller)
    assert caught.value.executed == "no"
    answer(door, door.sent[0][1], 5)
    call(caller)  # takes the answer first


def test_a_call_that_nobody_waits_for_is_not_sent_once_its_time_is_over():
    door = HandDoor()
    caller = caller_of(door)
    forgotten = [call(caller, timeout_s=0.001) for _ in range(3)]
    kept = call(caller)
    wait_until(lambda: not kept.done() and all(future.resolved for future in forgotten))
    with pytest.raises(CallTimeout, match="was not sent"):
        forgotten[0].result()
    door.change(b_0=1)
    assert not kept.done()
    assert [message.number for _, message in door.sent] == [kept.number]


def test_an_answer_that_comes_before_its_call_was_sent_harms_nobody():
    door = HandDoor()
    caller = caller_of(door)
    futures = [call(caller), call(caller)]
    door.say(Kind.REPLY, "add", B, 5, number=futures[0].number)
    assert futures[0].result() == 5
    door.change(b_0=1)
    assert not futures[1].done()
    assert [message.number for _, message in door.sent] == [futures[1].number]


def test_a_call_outlives_a_restart_that_came_before_it_was_sent():
    door = HandDoor(up=(B,))
    caller = caller_of(door)
    door.change(b_0=0)
    future = call(caller)  # the caller looks at the table before it sends
    assert door.sent == []
    door.change(b_0=2)
    future.done()
    assert [message.number for _, message in door.sent] == [1]


def test_calls_are_sent_in_order_even_if_the_line_was_full():
    door = HandDoor(up=(B,))
    caller = caller_of(door)
    door.full.add(B)
    futures = [call(caller)]
    door.full.clear()
    futures.append(call(caller))
    futures[0].done()
    assert [message.number for _, message in door.sent] == [1, 2]


def test_a_call_is_sent_once_even_if_its_target_comes_up_while_it_is_being_sent():
    door = HandDoor()
    caller = caller_of(door)
    future = call(caller)
    door.change(b_0=1)
    door.change(c_0=1)
    future.done()
    future.done()
    assert len(door.sent) == 1


def test_a_death_is_told_to_the_calls_of_that_actor_alone():
    door = HandDoor(up=(B, "c/0"))
    caller = caller_of(door)
    to_b, to_c = call(caller), call(caller, "c/0")
    door.change(b_0=2)
    assert to_b.done() and not to_c.done()


def test_no_limit_waits_for_the_answer():
    door = HandDoor(up=(B,))
    future = call(caller_of(door), timeout_s=NO_LIMIT)
    assert door.sent[0][1].deadline is None
    answer(door, door.sent[0][1], 1)
    assert future.result() == 1


def test_what_cannot_be_sent_raises_at_once_and_leaves_nothing_open():
    door = HandDoor(up=(B,))
    caller = caller_of(door)
    with pytest.raises(WireError, match=r"builtins\.object"):
        caller.call(B, "add", (object(),), {}, 60.0, "main")
    assert caller._open == {}


def test_what_cannot_be_sent_to_who_was_down_is_told_to_its_own_future():
    door = HandDoor()
    caller = caller_of(door)
    bad = caller.call(B, "add", (object(),), {}, 60.0, "main")
    good = call(caller)
    door.change(b_0=1)
    assert not good.done()
    with pytest.raises(WireError):
        bad.result()
    answer(door, door.sent[0][1], 3)
    assert good.result() == 3


def test_a_tell_to_who_is_down_is_an_error_and_was_not_executed():
    with pytest.raises(ActorDied) as caught:
        caller_of(HandDoor()).tell(B, "add", (1,), {}, "main")
    assert caught.value.executed == "no"


def test_a_tell_that_finds_the_line_full_is_an_error_and_was_not_executed():
    door = HandDoor(up=(B,))
    door.full.add(B)
    with pytest.raises(CallError, match="does not keep up") as caught:
        caller_of(door).tell(B, "add", (1,), {}, "main")
    assert caught.value.executed == "no"


def test_the_control_lane_is_another_line():
    door = HandDoor(up=(B,))
    caller = caller_of(door)
    caller.call(B, "look", (), {}, 60.0, "control")
    caller.tell(B, "look", (), {}, "control")
    assert [to for to, _ in door.sent] == ["b/0!", "b/0!"]


def test_an_answer_that_belongs_to_a_link_goes_to_the_mailbox():
    door = HandDoor(up=(B,))
    caller = caller_of(door)
    others: list[Message] = []
    caller.on_other = others.append
    future = call(caller)
    credit = door.say(Kind.CREDIT, "data", B)
    future.done()
    assert others == [credit]


def test_only_who_was_asked_can_answer():
    door = HandDoor(up=(B, "other/0"))
    future = call(caller_of(door))
    ((_, message),) = door.sent
    answer(door, message, "forged", source="other/0")
    assert not future.done() and door.drops["answer to another's call"] == 1
    answer(door, message, "true")
    assert future.result() == "true"


def test_a_failure_that_is_no_failure_is_taken_with_care():
    door = HandDoor(up=(B,))
    future = call(caller_of(door))
    door.say(Kind.FAILURE, "add", B, [1, 2], number=1)
    with pytest.raises(RemoteError) as caught:
        future.result()
    assert caught.value.executed == "maybe"


def test_the_end_of_the_run_is_told_to_whoever_waits():
    door = HandDoor(up=(B,))
    caller = caller_of(door)
    sent, unsent = call(caller), call(caller, "c/0")
    caller.close()
    assert door.closed
    for future, executed in ((sent, "maybe"), (unsent, "no")):
        with pytest.raises(ActorDied) as caught:
            future.result()
        assert caught.value.executed == executed
    with pytest.raises(CallError, match="stopped") as caught_call:
        call(caller)
    assert caught_call.value.executed == "no"


def test_only_the_main_thread_of_an_actor_may_call():
    door = HandDoor(up=(B,))
    caller = caller_of(door, only_thread=threading.get_ident())
    errors: list[CallError] = []

    def elsewhere() -> None:
        try:
            call(caller)
        except CallError as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert errors[0].executed == "no" and "context.post" in str(errors[0])
    assert door.sent == [] and not call(caller).done()


def test_an_actor_that_waits_for_itself_is_told_so():
    door = HandDoor("a/0", up=("a/0",))
    future = call(caller_of(door, only_thread=threading.get_ident()), "a/0")
    with pytest.raises(CallCycle, match="its own add"):
        future.result()


def test_a_deadline_is_above_zero():
    with pytest.raises(ValueError, match="above 0"):
        ActorRef("a/0").add.within(0)


def test_a_reference_of_a_program_that_does_not_run_says_so():
    with pytest.raises(CallError, match="start its Program first"):
        ActorRef("a/0").add.call(1)


def test_gather_waits_for_all_before_it_raises():
    door = HandDoor(up=(B, "c/0"))
    caller = caller_of(door)
    futures = [call(caller), call(caller, "c/0")]
    fail(door, door.sent[0][1], ValueError("first"), "yes")
    answer(door, door.sent[1][1], 2, source="c/0")
    with pytest.raises(RemoteError, match="first"):
        gather(futures)
    assert futures[1].resolved
