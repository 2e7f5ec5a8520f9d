"""Endpoints: who is heard, what is dropped and counted, and what travels without a copy."""

from __future__ import annotations

import contextlib
import tempfile
import time

import numpy as np
import pytest
import zmq

from actorrl import copies
from actorrl.wire import sockets
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.inside import SLAB_THRESHOLD_BYTES
from actorrl.wire.messages import Kind, Message, Peer
from actorrl.wire.shared_memory import MemoryClient

HOST = "here"
PATIENCE_S = 10.0


class World:
    """Endpoints of one process that know each other."""

    def __init__(self, folder: str, memory_address: str) -> None:
        self._folder = folder
        self._memory_address = memory_address
        self.table: dict[str, Peer] = {}
        self.doors: list[Endpoint] = []

    def add(self, name: str, incarnation: int = 1) -> Endpoint:
        address = f"ipc://{self._folder}/{name}.{incarnation}"
        door = Endpoint(name, incarnation, address, MemoryClient(self._memory_address))
        self.table[name] = Peer(incarnation, address, HOST)
        self.doors.append(door)
        self.announce()
        return door

    def announce(self) -> None:
        for door in self.doors:
            door.post_peers(dict(self.table))
            door.take_peers()


@pytest.fixture
def world(memory):
    with tempfile.TemporaryDirectory(prefix="rt-") as folder:
        world = World(folder, memory.address)
        yield world
        for door in world.doors:
            door.close()


def receive(door: Endpoint, count: int = 1, answers_only: bool = False) -> list[Message]:
    """The next messages; raises when they do not come."""
    got: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < count:
        assert time.monotonic() < deadline, f"{len(got)} of {count} came"
        got += door.receive(50, answers_only)
    return got


def say(number: int = 0, **fields) -> Message:
    return Message(Kind.TELL, "hello", number, number=number, **fields)


def test_what_is_sent_arrives_in_order_and_is_answered(world):
    a, b = world.add("a"), world.add("b")
    for number in range(200):
        assert a.send("b", say(number))
    got = receive(b, 200)
    assert [message.body for message in got] == list(range(200))
    assert {(message.source, message.incarnation) for message in got} == {("a", 1)}
    b.answer(got[7], Message(Kind.REPLY, "hello", "seven", number=7))
    (answer,) = receive(a, answers_only=True)
    assert (answer.body, answer.source, answer.number) == ("seven", "b", 7)


def test_nothing_is_sent_to_who_is_not_up(world):
    a = world.add("a")
    assert not a.knows("b") and not a.send("b", say())


def test_the_table_changes_only_when_its_owner_looks(world):
    a = world.add("a")
    a.post_peers({"b": Peer(1, "ipc:///nowhere", HOST)})
    assert not a.knows("b")
    a.take_peers()
    assert a.knows("b") and a.knows("b!")


def test_waiting_ends_when_somebody_wakes_it(world):
    a = world.add("a")
    a.wake()
    before = time.monotonic()
    assert a.receive(10_000) == []
    assert time.monotonic() - before < 5


def test_waking_a_closed_endpoint_touches_nothing(world):
    a = world.add("a")
    a.close()
    a.wake()
    a.close()


def test_who_is_behind_an_older_incarnation_is_not_heard(world):
    old, b = world.add("a"), world.add("b")
    new = world.add("a", 2)
    old.send("b", say(1))
    new.send("b", say(2))
    receive(b)
    old.send("b", say(3))
    new.send("b", say(4))
    receive(b)
    deadline = time.monotonic() + PATIENCE_S
    while b.drops["from an old incarnation"] < 2:
        assert time.monotonic() < deadline
        assert all(message.incarnation == 2 for message in b.receive(20))


def test_an_answer_counts_only_from_the_process_that_was_asked(world):
    a, b = world.add("a"), world.add("b")
    from_b = Message(Kind.CREDIT, "x", source="b", incarnation=1)
    assert a.is_current(from_b)
    world.add("b", 2)
    assert not a.is_current(from_b)
    assert a.is_current(Message(Kind.CREDIT, "x", source="b", incarnation=2))
    a.post_peers({})
    a.take_peers()
    assert not a.is_current(Message(Kind.RESPONSE, "x", source="b", incarnation=2))
    assert a.is_current(Message(Kind.CALL, "x", source="b", incarnation=2))
    assert b.name == "b"


def test_after_a_restart_messages_go_to_the_new_process(world):
    a, old = world.add("a"), world.add("b")
    a.send("b", say(1))
    receive(old)
    new = world.add("b", 2)
    a.send("b", say(2))
    (message,) = receive(new)
    assert message.body == 2 and old.receive(0) == []


def test_the_control_lane_of_an_old_incarnation_is_forgotten_too(world):
    a, b = world.add("a"), world.add("b")
    with contextlib.closing(Endpoint("b", 1, world.table["b"].address + "!")) as lane:
        a.send("b!", say(1))
        receive(lane)
        world.add("b", 2)
        assert "b!" not in a._lines and "b" not in a._lines
    assert b.receive(0) == []


def test_changes_of_the_table_are_told_by_name(world):
    a = world.add("a")
    told: list[list[str]] = []
    a.on_peers = told.append
    peer = Peer(1, "ipc:///x", HOST)
    for table in ({"b": peer, "c": peer}, {"b": peer, "c": peer}, {"b": Peer(2, "ipc:///y", HOST)}):
        a.post_peers(table)
        a.take_peers()
    assert told == [["a", "b", "c"], ["b", "c"]]


def test_what_is_malformed_is_dropped_and_counted(world):
    b = world.add("b")
    with zmq.Context() as context, sockets.dealer(context, world.table["b"].address) as stranger:
        stranger.send_multipart([b"nonsense"])
        stranger.send_multipart([b"\x01", b"\x02", b"\x03"])
        stranger.send(b"")
        deadline = time.monotonic() + PATIENCE_S
        while b.drops["malformed"] < 3:
            assert b.receive(20) == [] and time.monotonic() < deadline


def test_an_answer_to_who_has_gone_is_counted(world):
    a, b = world.add("a"), world.add("b")
    a.send("b", say())
    (message,) = receive(b)
    a.close()
    deadline = time.monotonic() + PATIENCE_S
    while b.answer(message, Message(Kind.REPLY, "hello")):
        assert time.monotonic() < deadline
    assert b.drops["answer to a peer that has gone"] == 1


def big(value: float) -> dict[str, np.ndarray]:
    return {"x": np.full(SLAB_THRESHOLD_BYTES, value, np.uint8), "n": np.array(value)}


def test_a_large_element_with_a_slot_travels_through_a_slab(world, memory):
    a, b = world.add("a"), world.add("b")
    for number in range(6):
        message = Message(Kind.ITEM, "link", None, big(number), number, slot=number % 2)
        assert a.send("b", message, num_slots=2)
        (item,) = receive(b)
        assert (item.arrays["x"] == number).all() and item.arrays["n"] == number
        assert not item.arrays["x"].flags.writeable
    assert memory.server.num_held == 1
    # the arrays are the shared memory itself, not a copy of it
    again = Message(Kind.ITEM, "link", None, big(99), 7, slot=item.slot)
    a.send("b", again, num_slots=2)
    assert (item.arrays["x"] == 99).all()


def test_a_small_element_and_one_without_a_slot_travel_as_frames(world, memory):
    a, b = world.add("a"), world.add("b")
    a.send("b", Message(Kind.ITEM, "link", None, {"x": np.zeros(4)}, slot=0), num_slots=2)
    a.send("b", Message(Kind.CALL, "m", [[], {}], big(1)))
    assert [sorted(message.arrays) for message in receive(b, 2)] == [["x"], ["n", "x"]]
    assert memory.server.num_held == 0


def test_a_new_consumer_gets_a_new_slab(world):
    a, old = world.add("a"), world.add("b")
    a.send("b", Message(Kind.ITEM, "link", None, big(1), slot=0), num_slots=1)
    (held,) = receive(old)
    new = world.add("b", 2)
    a.send("b", Message(Kind.ITEM, "link", None, big(2), slot=0), num_slots=1)
    (item,) = receive(new)
    assert (item.arrays["x"] == 2).all() and (held.arrays["x"] == 1).all()


def ask(door: Endpoint, to: str, server: Endpoint) -> Message:
    """A request in slot 0, as it arrives."""
    door.send(to, Message(Kind.REQUEST, "link", slot=0))
    (request,) = receive(server)
    return request


def respond(door: Endpoint, request: Message, value: float) -> bool:
    return door.answer(request, Message(Kind.RESPONSE, "link", None, big(value), slot=0), 1)


def test_a_late_answer_does_not_change_that_to_a_successor(world):
    old, b = world.add("a"), world.add("b")
    held = ask(old, "b", b)
    new = world.add("a", 2)
    assert respond(b, ask(new, "b", b), 2)
    (answer,) = receive(new)
    respond(b, held, 1)
    assert (answer.arrays["x"] == 2).all()


def test_who_asks_before_it_is_in_the_table_is_answered(world, memory):
    first, b = world.add("a"), world.add("b")
    assert respond(b, ask(first, "b", b), 1)
    receive(first)
    address = world.table["a"].address + "2"
    with contextlib.closing(Endpoint("a", 2, address, MemoryClient(memory.address))) as new:
        new.post_peers(dict(world.table))
        new.take_peers()
        assert respond(b, ask(new, "b", b), 2)
        (answer,) = receive(new)
        assert (answer.arrays["x"] == 2).all() and not new.drops.total()


def test_a_large_frame_is_not_copied_when_it_is_received(world):
    a, b = world.add("a"), world.add("b")
    a.send("b", Message(Kind.CALL, "m", [[np.zeros(100_000)], {}]))
    (message,) = receive(b)
    ((array,), _) = message.body
    assert array.base is not None and not array.flags.owndata


def test_no_memory_for_a_slab_means_frames_and_is_counted(world, memory, monkeypatch):
    a, b = world.add("a"), world.add("b")

    def refuse(*_):
        raise MemoryError("full")

    monkeypatch.setattr(a._memory, "create", refuse)
    a.send("b", Message(Kind.ITEM, "link", None, big(3), slot=0), num_slots=1)
    (item,) = receive(b)
    assert (item.arrays["x"] == 3).all()
    assert a.drops["no memory for a slab: sent as frames"] == 1


def test_an_element_filled_where_the_endpoint_said_arrives_without_a_copy(world, monkeypatch):
    monkeypatch.setattr(copies, "COUNTING", True)
    copies.count("frames")
    a, b = world.add("a"), world.add("b")
    shape, dtype = (SLAB_THRESHOLD_BYTES,), np.dtype(np.uint8)
    for round in range(2):  # the first makes the slab
        copies.clear()
        frames = a.room("b", "link", slot=0, num_slots=1)(shape, dtype)
        frames[:] = round
        assert a.send("b", Message(Kind.ITEM, "link", None, {"frames": frames}, slot=0), 1)
        (message,) = receive(b)
        assert (message.arrays["frames"] == round).all()
    assert copies.totals()["message"] == [SLAB_THRESHOLD_BYTES, 0]
    nowhere = a.room("nobody", "link", slot=0, num_slots=1)
    assert nowhere(shape, dtype).shape == shape
