"""Endpoints on different hosts: TCP with CURVE, who is heard, and what others can do."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from actorrl.wire.endpoint import Endpoint
from actorrl.wire.keys import KeyPair
from actorrl.wire.messages import Kind, Message, Peer
from actorrl.wire.shared_memory import MemoryClient
from actorrl.wire.sockets import TcpDoor

PATIENCE_S = 30.0


class World:
    """Endpoints of one process that take each other for processes of several hosts."""

    def __init__(self, folder: str, memory_address: str) -> None:
        self._folder = folder
        self._memory_address = memory_address
        self.table: dict[str, Peer] = {}
        self.doors: list[Endpoint] = []
        self.keys: dict[str, KeyPair] = {}

    def add(self, name: str, host: str, incarnation: int = 1) -> Endpoint:
        keys = self.keys[f"{name}.{incarnation}"] = KeyPair.new()
        address = f"ipc://{self._folder}/{name}.{incarnation}"
        memory = MemoryClient(self._memory_address)
        door = Endpoint(name, incarnation, address, memory, host, TcpDoor(keys=keys))
        self.table[name] = Peer(incarnation, address, host, door.tcp_address, keys.public)
        self.doors.append(door)
        self.announce()
        return door

    def announce(self) -> None:
        for door in self.doors:
            door.post_peers(dict(self.table))
            door.take_peers()


@pytest.fixture
def world(memory) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="rt-") as folder:
        world = World(folder, memory.address)
        yield world
        for door in world.doors:
            door.close()


def until(condition: Callable[[], bool], *doors: Endpoint) -> None:
    """Let the doors take in what comes until the condition holds; raises when it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        for door in doors:
            door.receive(20)


def receive(door: Endpoint, count: int = 1) -> list[Message]:
    got: list[Message] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(got) < count:
        assert time.monotonic() < deadline, f"{len(got)} of {count} came: {door.metrics()}"
        got += door.receive(50)
    return got


def say(number: int = 0, **fields) -> Message:
    return Message(Kind.TELL, "hello", number, number=number, **fields)


def test_peers_of_two_hosts_talk_in_order_and_answer(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    for number in range(200):
        assert a.send("b", say(number))
    got = receive(b, 200)
    assert [message.body for message in got] == list(range(200))
    assert {(message.source, message.incarnation) for message in got} == {("a", 1)}
    b.answer(got[7], Message(Kind.REPLY, "hello", "seven", number=7))
    (answer,) = receive(a)
    assert (answer.body, answer.source, answer.number) == ("seven", "b", 7)
    assert a.trouble == {}


def test_a_large_fragment_arrives_whole_and_compressed(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    arrays = {
        "obs": np.tile(np.arange(256, dtype=np.uint8), 20_000),
        "noise": np.random.default_rng(1).integers(0, 256, 3_000_000, np.uint8),
        "floats": np.arange(300_000, dtype=np.float64),
    }
    assert a.send("b", Message(Kind.ITEM, "link", {"n": 1}, arrays, slot=0), num_slots=1)
    (item,) = receive(b)
    for name, array in arrays.items():
        np.testing.assert_array_equal(item.arrays[name], array)
    sent = a.metrics()
    assert sent["bytes_raw"] > sum(array.nbytes for array in arrays.values())
    assert sent["bytes_wire"] < sent["bytes_raw"] - 0.9 * arrays["obs"].nbytes
    assert b.metrics()["bytes_wire_in"] == sent["bytes_wire"]


def test_peers_of_one_host_and_of_another_are_mixed(world, memory):
    a, near, far = world.add("a", "one"), world.add("near", "one"), world.add("far", "two")
    big = {"x": np.ones(100_000, np.uint8)}
    for to in ("near", "far"):
        assert a.send(to, Message(Kind.ITEM, "link", to, big, slot=0), num_slots=1)
    for door in (near, far):
        (item,) = receive(door)
        assert item.body == door.name and item.arrays["x"].all()
        assert door.answer(item, Message(Kind.CREDIT, "link"))
    assert {credit.source for credit in receive(a, 2)} == {"near", "far"}
    assert memory.server.num_held == 1  # no slab goes to another host
    assert near.metrics()["bytes_wire_in"] == 0 < far.metrics()["bytes_wire_in"]


def test_a_deadline_arrives_as_what_remains(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    a.send("b", Message(Kind.CALL, "m", [[], {}], deadline=time.monotonic() + 1000))
    (call,) = receive(b)
    assert call.deadline is not None
    assert 900 < call.deadline - time.monotonic() < 1000 + PATIENCE_S


def test_the_older_incarnation_is_not_heard_even_where_it_is_connected(world):
    old, b = world.add("a", "one"), world.add("b", "two")
    old.send("b", say(1))
    receive(b)
    new = world.add("a", "one", 2)
    old.send("b", say(2))
    new.send("b", say(3))
    assert [message.body for message in receive(b)] == [3]
    until(lambda: b.drops["from a key that is not listed"] == 1, b)


def test_after_a_restart_messages_go_to_the_new_process(world):
    a, old = world.add("a", "one"), world.add("b", "two")
    a.send("b", say(1))
    receive(old)
    new = world.add("b", "two", 2)
    a.send("b", say(2))
    assert [message.body for message in receive(new)] == [2]
    assert old.receive(0) == []


def test_who_cannot_be_reached_is_named_with_the_reason(world):
    a = world.add("a", "one")
    with contextlib.closing(world.add("b", "two")) as b:
        pass
    assert b.tcp_address
    a.send("b", say())
    until(lambda: "b" in a.trouble, a)
    assert "cannot be reached" in a.trouble["b"]
