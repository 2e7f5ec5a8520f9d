"""Endpoints on different hosts: TCP with CURVE, who is heard, and what others can do."""

from __future__ import annotations

import contextlib
import random
import select
import socket as posix
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import psutil
import pytest
import zmq

from actorrl.errors import WireError
from actorrl.wire import frames, outside, sockets
from actorrl.wire.doorkeeper import Doorkeeper
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.frames import ArrayEntry
from actorrl.wire.keys import KeyPair, Owner
from actorrl.wire.messages import Kind, Message, Peer
from actorrl.wire.offences import MAX_OFFENCES
from actorrl.wire.outside import MAX_PARTS
from actorrl.wire.shared_memory import MemoryClient
from actorrl.wire.sockets import TcpDoor
from tests.wire.test_frames import header

PATIENCE_S = 30.0
PORTS = (21_000, 22_999)


class World:
    """Endpoints of one process that take each other for processes of several hosts."""

    def __init__(self, folder: str, memory_address: str) -> None:
        self._folder = folder
        self._memory_address = memory_address
        self.table: dict[str, Peer] = {}
        self.doors: list[Endpoint] = []
        self.keys: dict[str, KeyPair] = {}

    def add(
        self,
        name: str,
        host: str,
        incarnation: int = 1,
        permits: bool = True,
        visits: tuple[str, ...] = (),
    ) -> Endpoint:
        """`visits`: it does not listen, and goes to these."""
        keys = self.keys[f"{name}.{incarnation}"] = KeyPair.new()
        address = f"ipc://{self._folder}/{name}.{incarnation}"
        memory = MemoryClient(self._memory_address)
        tcp = TcpDoor(keys=keys, ports=PORTS, listens=not visits)
        door = Endpoint(name, incarnation, address, memory, host, tcp)
        if permits:
            door.permit(lambda source, kind, name: True, frozenset(visits))
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


def test_what_is_too_large_for_another_host_is_refused_here_and_no_offence_there(
    world, monkeypatch
):
    a, b = world.add("a", "one"), world.add("b", "two")
    limit = 4_000_000
    monkeypatch.setattr(outside, "MAX_MESSAGE_BYTES", limit)
    with pytest.raises(WireError, match=r"cannot send 'm' to another host: \d+ bytes, at most"):
        a.send("b", Message(Kind.CALL, "m", [[np.zeros(limit // 8)], {}]))
    a.send("b", Message(Kind.CALL, "m", [[np.zeros(limit // 8 - 100)], {}]))  # all but as much
    ((array,), _) = receive(b)[0].body
    assert array.nbytes > limit - 1000 and not b.drops.total()


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


def test_the_control_lane_has_a_door_of_its_own(world, memory):
    a, b = world.add("a", "one"), world.add("b", "two")
    a.send("b!", say(1))  # no such door was announced: the main one
    assert [message.body for message in receive(b)] == [1]
    keys, address = world.keys["b.1"], world.table["b"].address + "!"
    lane = Endpoint("b", 1, address, None, "two", TcpDoor(keys=keys, ports=PORTS))
    lane.permit(lambda source, kind, name: True)
    world.doors.append(lane)
    world.table["b"] = msgspec.structs.replace(world.table["b"], tcp_control=lane.tcp_address)
    world.announce()
    a.send("b!", say(2))
    (message,) = receive(lane)
    assert message.body == 2 and lane.answer(message, Message(Kind.REPLY, "hello", 3))
    assert receive(a)[0].body == 3
    a.send("b", say(4))
    assert [message.body for message in receive(b)] == [4]


def test_no_free_port_is_an_error_that_names_the_range_and_leaves_nothing(world):
    a = world.add("a", "one")
    port = int(a.tcp_address.rpartition(":")[2])
    before = threading.active_count()
    for _ in range(20):
        with pytest.raises(WireError, match=rf"no port of {port}-{port} \(network.ports\)"):
            Endpoint(
                "b", 1, world.table["a"].address + ".b", None, "two",
                TcpDoor(keys=KeyPair.new(), ports=(port, port)),
            )  # fmt: skip
    assert threading.active_count() == before


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
    a, c = world.add("a", "one"), world.add("c", "three")
    with contextlib.ExitStack() as stack:
        plain = stack.enter_context(zmq.Context()).socket(zmq.ROUTER)
        stack.enter_context(plain)
        plain_port = plain.bind_to_random_port("tcp://127.0.0.1")
        silent = stack.enter_context(posix.create_server(("127.0.0.1", 0)))
        closed = stack.enter_context(posix.socket())
        closed.bind(("127.0.0.1", 0))  # and not listening
        key = KeyPair.new().public
        unreachable = {
            "plain": (f"tcp://127.0.0.1:{plain_port}", "does not speak CURVE"),
            "silent": (f"tcp://127.0.0.1:{silent.getsockname()[1]}", "not answered"),
            "closed": (f"tcp://127.0.0.1:{closed.getsockname()[1]}", "nobody accepts"),
            "nowhere": ("tcp://192.0.2.1:43000", "nobody accepts"),  # no host has such an address
            "other": (c.tcp_address, "broken off"),
            "addressless": ("", "no address"),
        }
        for name, (address, _) in unreachable.items():
            world.table[name] = Peer(1, "ipc:///nowhere", "two", address, key)
        world.announce()
        for name in [*unreachable, "c"]:
            assert a.send(name, say()) is (name != "addressless")
        until(lambda: a.trouble.keys() == unreachable.keys(), a, c)
        trouble = a.trouble
        a.post_peers({})  # nobody wants to reach them any more
        until(lambda: not a.trouble, a)
    for name, (_, words) in unreachable.items():
        assert words in trouble[name], trouble[name]


# ---- strangers ------------------------------------------------------------------------------


@contextlib.contextmanager
def client(address: str, server_key: str, keys: KeyPair | None = None) -> Iterator[zmq.Socket]:
    """A ZeroMQ client of whoever has the keys."""
    context = sockets.new_context()
    door = TcpDoor(keys=keys or KeyPair.new())
    socket, monitor = sockets.tcp_dealer(context, address, server_key, door)
    try:
        yield socket
    finally:
        monitor.close()
        socket.close(linger=0)
        context.term()


@contextlib.contextmanager
def plain_client(address: str) -> Iterator[zmq.Socket]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(address)
        yield socket


def tell(source: str = "a", incarnation: int = 1, kind: Kind = Kind.TELL) -> list:
    message = Message(kind, "hello", "forged", source=source, incarnation=incarnation)
    return frames.encode(message)


def refused(door: Endpoint) -> int:
    return door.metrics()["refused_handshakes"]


STRANGERS = {
    "without keys": lambda address, key: plain_client(address),
    "with a wrong server key": lambda address, key: client(address, KeyPair.new().public),
    "with an unlisted key": lambda address, key: client(address, key),
}


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_gets_nothing_and_changes_nothing(world, stranger):
    a, b = world.add("a", "one"), world.add("b", "two")
    with stranger(b.tcp_address, world.keys["b.1"].public) as socket:
        for _ in range(3):
            socket.send_multipart(tell(), zmq.NOBLOCK)
        until(lambda: refused(b) > 0, b)
        a.send("b", say(1))
        assert [message.body for message in receive(b)] == [1]
        assert socket.poll(0) == 0
    assert b.drops.total() == 0


def test_the_key_of_an_earlier_incarnation_does_not_come_in(world):
    old, b = world.add("a", "one"), world.add("b", "two")
    old.close()
    world.add("a", "one", 2)
    with client(b.tcp_address, world.keys["b.1"].public, world.keys["a.1"]) as socket:
        socket.send_multipart(tell("a", 2))
        until(lambda: refused(b) > 0, b)


def test_a_key_that_is_listed_a_moment_later_comes_in_at_once(world):
    b = world.add("b", "two")
    late = KeyPair.new()
    with client(b.tcp_address, world.keys["b.1"].public, late) as socket:
        socket.send_multipart(tell("c"))
        assert b.receive(200) == []
        world.table["c"] = Peer(1, "ipc:///nowhere", "three", "", late.public)
        world.announce()
        (message,) = receive(b)
    assert message.source == "c" and refused(b) == 0


def test_who_is_refused_is_told_why_and_comes_in_when_it_is_listed(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    b.post_peers({})
    a.send("b", say(1))
    until(lambda: "b" in a.trouble, a)
    assert "does not know the key" in a.trouble["b"]
    world.announce()
    until(lambda: "b" not in a.trouble, _sender(a, 2))
    assert receive(b)[0].body == 2
    assert a.trouble == {}


class _sender:
    """Sends again and again, as streams and requests do once they may."""

    def __init__(self, door: Endpoint, number: int) -> None:
        self._door, self._number = door, number

    def receive(self, timeout_ms: int) -> list[Message]:
        self._door.send("b", say(self._number))
        return self._door.receive(timeout_ms)


@pytest.mark.parametrize(("source", "incarnation"), [("c", 1), ("a", 2), ("driver", 0)])
def test_who_speaks_in_another_name_is_not_heard(world, source, incarnation):
    world.add("c", "three")
    a, b = world.add("a", "one"), world.add("b", "two")
    with client(b.tcp_address, world.keys["b.1"].public, world.keys["a.1"]) as socket:
        socket.send_multipart(tell(source, incarnation))
        socket.send_multipart(tell("a", 1))
        assert [message.source for message in receive(b)] == ["a"]
    assert b.drops == {"in another's name": 1}
    assert a.drops.total() == 0


def test_nobody_sends_what_its_role_does_not_send(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    b.permit(lambda source, kind, name: (source, kind, name) == ("a", Kind.ITEM, "samples"))
    a.send("b", Message(Kind.CALL, "set_weights", [[], {}], number=1))
    a.send("b", Message(Kind.ITEM, "gradients", slot=0))
    a.send("b", Message(Kind.ITEM, "samples", slot=0))
    assert [message.name for message in receive(b)] == ["samples"]
    assert b.drops == {"not allowed": 2}


def test_before_anything_is_permitted_nothing_but_answers_comes_in(world):
    a, b = world.add("a", "one"), world.add("b", "two", permits=False)
    a.send("b", say())
    until(lambda: b.drops["not allowed"] == 1, b)
    b.send("a", say())
    (message,) = receive(a)
    a.answer(message, Message(Kind.REPLY, "hello", 1))
    assert receive(b)[0].kind is Kind.REPLY


def test_nobody_answers_what_it_was_not_asked(world):
    """Answers come on the lines of who has asked; they name a call by a number only."""
    a, b = world.add("a", "one"), world.add("b", "two")
    a.send("b", Message(Kind.REPLY, "secret", 5, number=1))
    a.send("b", say(1))
    (message,) = receive(b)
    assert b.answer(message, Message(Kind.CALL, "evil", [[], {}]))
    assert b.answer(message, Message(Kind.REPLY, "hello", "fine"))
    assert [answer.body for answer in receive(a)] == ["fine"]
    assert b.drops == {"not allowed": 1} and a.drops == {"not an answer": 1}


def test_without_keys_processes_of_one_machine_talk(memory):
    with tempfile.TemporaryDirectory(prefix="rt-") as folder, contextlib.ExitStack() as stack:
        table, doors = {}, []
        for name, host in (("a", "one"), ("b", "two")):
            door = Endpoint(
                name, 1, f"ipc://{folder}/{name}", MemoryClient(memory.address), host,
                TcpDoor(keys=KeyPair.new(), ports=PORTS, security="none"),
            )  # fmt: skip
            doors.append(stack.enter_context(contextlib.closing(door)))
            door.permit(lambda source, kind, name: True)
            table[name] = Peer(1, f"ipc://{folder}/{name}", host, door.tcp_address)
        for door in doors:
            door.post_peers(table)
        a, b = doors
        a.take_peers()
        assert a.send("b", say(1))
        (message,) = receive(b)
        assert b.answer(message, Message(Kind.REPLY, "hello", 2))
        assert receive(a)[0].body == 2


# ---- listed peers that misbehave ------------------------------------------------------------


def hostile(draw: random.Random) -> list[bytes]:
    """A message that no peer of ours sends."""
    match draw.randrange(7):
        case 0:
            return [draw.randbytes(draw.randrange(200)) for _ in range(draw.randrange(1, 5))]
        case 1:
            return [b"\x91" * 5000]
        case 2:
            return [header(source="a")[:-1] + b"\x91" * 5000]
        case 3:
            return [tell()[0][:-3]]
        case 4:
            return [bytes(tell()[0])] + [b""] * (MAX_PARTS + 10)
        case 5:  # shared memory of another host
            slab = [ArrayEntry("x", "|u1", (8,), 0)]
            return [header(source="a", generation=1, arrays=slab)]
        case _:
            arrays = [ArrayEntry("x", draw.choice(["<f4", "|O", "|u1"]), (2**40, 4), -1)]
            return [header(source="a", arrays=arrays), bytes(8)]


def test_who_sends_nonsense_is_cut_off_and_the_others_go_on(world):
    a, b, c = world.add("a", "one"), world.add("b", "two"), world.add("c", "three")
    told: list[list[str]] = []
    b.on_peers = told.append
    b.send("a", say(0))
    receive(a)
    draw = random.Random(11)
    with client(b.tcp_address, world.keys["b.1"].public, world.keys["a.1"]) as socket:
        for number in range(MAX_OFFENCES):
            socket.send_multipart(hostile(draw))
            c.send("b", say(number))
        got = []
        until(lambda: bool(got.extend(b.receive(20))) or b.drops["peer cut off"] == 1)
        until(lambda: refused(b) > 0, b)  # its connection was ended, and it does not come in again
    got += receive(b, MAX_OFFENCES - len(got)) if len(got) < MAX_OFFENCES else []
    assert [message.body for message in got] == list(range(MAX_OFFENCES))
    assert b.drops["malformed"] == MAX_OFFENCES and b.metrics()["peers_cut_off"] == 1
    assert not b.knows("a") and not b.send("a", say()) and told == [["a"]]
    assert b.knows("c") and b.send("c", say())
    world.announce()  # the table still names it
    assert not b.knows("a")
    world.add("a", "one", 2)  # its successor has a key of its own
    assert b.knows("a")


def test_who_answers_nonsense_is_cut_off(world):
    a = world.add("a", "one")
    keys = KeyPair.new()
    with sockets.new_context() as context:
        keeper = Doorkeeper(context)
        listener, address = sockets.tcp_router(context, TcpDoor(keys=keys, ports=PORTS), "x")
        keeper.admit("x", {world.keys["a.1"].public: Owner("a", 1)})
        world.table["evil"] = Peer(1, "ipc:///nowhere", "two", address, keys.public)
        world.announce()
        a.send("evil", say())
        assert listener.poll(PATIENCE_S * 1000)
        route = listener.recv_multipart()[0]
        for number in range(MAX_OFFENCES):
            listener.send_multipart([route, *hostile(random.Random(number))])
        until(lambda: not a.knows("evil"), a)
        assert a.drops["malformed"] == MAX_OFFENCES and not a.send("evil", say())
        listener.close(linger=0)
        keeper.close()


def test_a_frame_beyond_the_limit_ends_the_connection_before_it_is_taken_in(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    with client(b.tcp_address, world.keys["b.1"].public, world.keys["a.1"]) as socket:
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        socket.send_multipart([*tell(), bytes(2 * sockets.MAX_TCP_FRAME_BYTES)])
        until(lambda: monitor.poll(0) > 0, b)
        socket.disable_monitor()
        monitor.close()
    a.send("b", say(1))
    assert [message.body for message in receive(b)] == [1]


def test_half_handshakes_keep_nobody_out(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    host, port = b.tcp_address.removeprefix("tcp://").split(":")
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(posix.create_connection((host, int(port)))) for _ in range(100)]
        for number, connection in enumerate(idle):
            connection.send(GREETING[: number % len(GREETING)])
        a.send("b", say(1))
        assert [message.body for message in receive(b)] == [1]
        until(lambda: refused(b) >= len(idle), b)
        for connection in idle:  # they were hung up on
            connection.settimeout(PATIENCE_S)
            with contextlib.suppress(ConnectionError):
                while connection.recv(4096):
                    pass
    a.send("b", say(2))
    assert [message.body for message in receive(b)] == [2]


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)


def test_memory_stays_flat_under_a_flood_of_strangers(world):
    """What comes before a key was shown is taken in one small frame at a time."""
    a, b = world.add("a", "one"), world.add("b", "two")
    a.send("b", say(0))
    receive(b)
    host, port = b.tcp_address.removeprefix("tcp://").split(":")
    process = psutil.Process()
    before = highest = process.memory_info().rss
    just_allowed = sockets.MAX_TCP_FRAME_BYTES - 1
    for number in range(150):
        with posix.create_connection((host, int(port))) as connection:
            connection.settimeout(PATIENCE_S)
            size = (just_allowed, 1 << 40)[number % 2]
            with contextlib.suppress(ConnectionError):
                connection.sendall(GREETING + b"\x06" + size.to_bytes(8, "big"))
                connection.sendall(bytes(just_allowed - 1))
        highest = max(highest, process.memory_info().rss)
    assert highest - before < 40e6
    a.send("b", say(1))
    assert [message.body for message in receive(b)] == [1]


# ---- what others can see --------------------------------------------------------------------


class Wire:
    """A cable between a client and a server that keeps what went over it."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("tcp://").split(":")
        self._server = (host, int(port))
        self._listener = posix.create_server((host, 0))
        self.address = f"tcp://{host}:{self._listener.getsockname()[1]}"
        self.seen = bytearray()
        self.is_cut = False  # connected at both ends, and nothing gets through
        self._thread = threading.Thread(target=self._run)
        self._ends: list[posix.socket] = []

    def _run(self) -> None:
        self._listener.settimeout(PATIENCE_S)
        near, _ = self._listener.accept()
        far = posix.create_connection(self._server)
        self._ends = [near, far]
        with contextlib.suppress(ConnectionError):
            while True:
                for source in select.select(self._ends, [], [])[0]:
                    self._pass_on(source, far if source is near else near)

    def _pass_on(self, source: posix.socket, target: posix.socket) -> None:
        data = source.recv(65536)
        if not data:
            raise ConnectionError
        self.seen += data
        if not self.is_cut:
            target.sendall(data)

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(posix.SHUT_RDWR)
        self._thread.join()
        for end in [*self._ends, self._listener]:
            end.close()


def test_nothing_crosses_in_clear(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    marker = b"MARKER-OBSERVATION"
    noise = np.frombuffer(marker + np.random.default_rng(3).bytes(50_000), np.uint8)
    with Wire(b.tcp_address) as wire:
        world.table["b"] = msgspec.structs.replace(world.table["b"], tcp=wire.address)
        world.announce()
        a.send("b", Message(Kind.ITEM, "link-by-name", {"MARKER-VALUE": 1}, {"obs": noise}))
        (item,) = receive(b)
        assert b.answer(item, Message(Kind.CREDIT, "link-by-name"))
        receive(a)
    assert item.arrays["obs"].tobytes().startswith(marker)
    assert len(wire.seen) > noise.nbytes  # it did go this way
    for text in (marker, b"MARKER-VALUE", b"link-by-name"):
        assert text not in wire.seen


# ---- who does not listen --------------------------------------------------------------------


def test_who_does_not_listen_is_reached_on_the_line_that_it_has_dialled(world):
    a = world.add("a", "one")
    told: list[list[str]] = []
    a.on_peers = told.append
    b = world.add("b", "two", visits=("a",))
    assert b.tcp_address == "" and world.table["b"].tcp == ""
    until(lambda: a.knows("b"), a, b)
    assert a.incarnation_of("b") == 1 and told[-1] == ["b"]
    big = {"x": np.arange(400_000)}
    for number in range(20):
        assert a.send("b", Message(Kind.REQUEST, "link", number, big))
    got = receive(b, 20)
    assert [message.body for message in got] == list(range(20))
    assert (got[3].arrays["x"] == big["x"]).all()
    assert b.answer(got[3], Message(Kind.RESPONSE, "link", "three", big))
    assert b.send("a", say(7))
    answer, told_us = sorted(receive(a, 2), key=lambda message: message.kind, reverse=True)
    assert (answer.kind, answer.body, answer.source) == (Kind.RESPONSE, "three", "b")
    assert (told_us.body, a.answer(told_us, Message(Kind.REPLY, "hello", 8))) == (7, True)
    assert receive(b)[0].body == 8


def test_who_waits_for_a_visitors_answer_finds_the_rest_later_and_in_order(world):
    a, b = world.add("a", "one"), world.add("b", "two", visits=("a",))
    until(lambda: a.knows("b"), a, b)
    a.send("b", say(1))
    (question,) = receive(b)
    for number in range(50):
        b.send("a", say(number))
    b.answer(question, Message(Kind.REPLY, "hello", "answer"))
    got: list[Message] = []
    until(lambda: bool(got.extend(a.receive(20, answers_only=True)) or got), b)
    assert [message.body for message in got] == ["answer"]
    assert [message.body for message in receive(a, 50)] == list(range(50))


def test_a_visitor_that_is_started_again_is_absent_until_it_has_come(world):
    a, old = world.add("a", "one"), world.add("b", "two", visits=("a",))
    until(lambda: a.knows("b"), a, old)
    world.table["b"] = msgspec.structs.replace(world.table["b"], incarnation=2, key="")
    world.announce()
    assert not a.knows("b") and not a.knows("b!") and not a.send("b", say(1))
    assert a.incarnation_of("b") == 0
    new = world.add("b", "two", 2, visits=("a",))
    until(lambda: a.knows("b"), a, new)
    assert a.send("b", say(2))
    assert receive(new)[0].body == 2 and old.receive(0) == []


def test_a_visitor_whose_connection_is_lost_comes_again_and_what_was_in_flight_is_told(world):
    a = world.add("a", "one")
    with Wire(a.tcp_address) as wire:
        here = world.table["a"]
        world.table["a"] = msgspec.structs.replace(here, tcp=wire.address)
        b = world.add("b", "two", visits=("a",))
        until(lambda: a.knows("b"), a, b)
        told: list[list[str]] = []
        a.on_peers = told.append
    b.post_peers({"a": here})
    until(lambda: ["b"] in told, a, b)
    # it may come twice: for the lost connection, and for the new address
    until(lambda: a.send("b", say(3)) and b.receive(50) != [], a, b)


def test_that_a_visitor_is_gone_is_told_at_once_and_nobody_waits_first(world):
    a = world.add("a", "one")
    with Wire(a.tcp_address) as wire:
        world.table["a"] = msgspec.structs.replace(world.table["a"], tcp=wire.address)
        b = world.add("b", "two", visits=("a",))
        until(lambda: a.knows("b"), a, b)
    told: list[list[str]] = []
    a.on_peers = told.append
    until(lambda: not a.send("b", say()) and not a.knows("b"), b)
    before = time.monotonic()
    a.receive(60_000)  # nothing comes
    assert told == [["b"]] and time.monotonic() - before < PATIENCE_S


def test_a_visitor_takes_nothing_that_it_does_not_permit(world):
    a = world.add("a", "one")
    b = world.add("b", "two", visits=("a",))
    b.permit(lambda source, kind, name: (source, name) == ("a", "mine"), frozenset({"a"}))
    until(lambda: a.knows("b"), a, b)
    a.send("b", Message(Kind.TELL, "yours"))
    a.send("b", Message(Kind.TELL, "mine"))
    assert [message.name for message in receive(b)] == ["mine"]
    assert b.drops["not allowed"] == 1


def test_nobody_answers_without_a_visit(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    b.send("a", Message(Kind.REPLY, "hello", 1, number=1))
    until(lambda: a.drops["not allowed"] == 1, a)


def test_a_lost_connection_is_dialled_anew_and_told_as_a_loss(world):
    a, b = world.add("a", "one"), world.add("b", "two")
    told: list[list[str]] = []
    with Wire(b.tcp_address) as wire:
        world.table["b"] = msgspec.structs.replace(world.table["b"], tcp=wire.address)
        world.announce()
        a.on_peers = told.append
        a.send("b", say(1))
        receive(b)
    until(lambda: told == [["b"]], a, b)
    assert a.knows("b") and a.trouble == {}
    world.table["b"] = msgspec.structs.replace(world.table["b"], tcp=b.tcp_address)
    world.announce()
    a.send("b", say(2))
    assert [message.body for message in receive(b)] == [2]


def test_the_end_of_a_line_that_is_not_watched_any_more_stops_nothing_else(world):
    """ZeroMQ's own thread tells what becomes of a line, and waits for ever if nobody is there who
    could hear it."""
    a, b, c = world.add("a", "one"), world.add("b", "two"), world.add("c", "three")
    a.send("b", say(1))
    receive(b)
    others = a._outside
    others.hang_up(a._lines.to("b", world.table["b"]))  # its owner has not closed it yet
    until(lambda: "b" not in others.keeper._monitors.values(), a)
    world.doors.remove(b)
    b.close()
    for number in range(3):  # lines to a new peer, and from one
        a.send("c", say(number))
        assert receive(c)[0].body == number
    c.send("a", say(4))
    assert receive(a)[0].body == 4


def test_a_link_that_is_dead_without_a_word_is_noticed(world, monkeypatch):
    monkeypatch.setattr(sockets, "HEARTBEAT_MS", 100)
    monkeypatch.setattr(sockets, "HEARTBEAT_TIMEOUT_MS", 500)
    a, b = world.add("a", "one"), world.add("b", "two")
    told: list[list[str]] = []
    with Wire(b.tcp_address) as wire:
        world.table["b"] = msgspec.structs.replace(world.table["b"], tcp=wire.address)
        world.announce()
        a.on_peers = told.append
        a.send("b", say(1))
        receive(b)
        wire.is_cut = True
        until(lambda: told == [["b"]], a, b)
