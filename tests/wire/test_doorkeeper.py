"""Doorkeeper: a list of keys for each listener, changed while it runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
import zmq

from actorrl.wire import sockets
from actorrl.wire.doorkeeper import MAX_HELD, Doorkeeper, key_of
from actorrl.wire.keys import KeyPair, Owner
from actorrl.wire.sockets import TcpDoor

PATIENCE_S = 30.0


class Listeners:
    """Two listeners of one context, and who dials them."""

    def __init__(self) -> None:
        self.context = sockets.new_context()
        self.keeper = Doorkeeper(self.context)
        self.door = TcpDoor(keys=KeyPair.new(), ports=(21_000, 22_999))
        self.sockets: dict[str, zmq.Socket] = {}
        self.addresses: dict[str, str] = {}
        for domain in ("agents", "beats"):
            socket, address = sockets.tcp_router(self.context, self.door, domain)
            self.keeper.watch_listener(socket)
            self.sockets[domain], self.addresses[domain] = socket, address

    @contextlib.contextmanager
    def dialled(self, domain: str, keys: KeyPair) -> Iterator[zmq.Socket]:
        context = sockets.new_context()
        line, monitor = sockets.tcp_dealer(
            context, self.addresses[domain], self.door.keys.public, TcpDoor(keys=keys)
        )
        try:
            yield line
        finally:
            monitor.close()
            line.close(linger=0)
            context.term()

    def close(self) -> None:
        self.keeper.close()
        self.context.destroy(linger=0)


@pytest.fixture
def listeners():
    listeners = Listeners()
    yield listeners
    listeners.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def heard(socket: zmq.Socket) -> zmq.Frame:
    assert socket.poll(PATIENCE_S * 1000)
    return socket.recv_multipart(copy=False)[-1]


def test_who_is_listed_comes_in_and_is_named(listeners):
    keys = KeyPair.new()
    owner = Owner("host/two", 3)
    listeners.keeper.admit("agents", {keys.public: owner})
    with listeners.dialled("agents", keys) as line:
        line.send(b"hello")
        frame = heard(listeners.sockets["agents"])
        assert frame.bytes == b"hello" and key_of(frame) == keys.public
        assert listeners.keeper.owner("agents", key_of(frame)) == owner
        listeners.keeper.admit("agents", {})
        assert listeners.keeper.owner("agents", key_of(frame)) is None
    assert not listeners.keeper.refused


def test_a_key_counts_at_its_own_listener_only(listeners):
    keys = KeyPair.new()
    listeners.keeper.admit("agents", {keys.public: Owner("host/two", 1)})
    with listeners.dialled("beats", keys) as line:
        line.send(b"hello")
        until(lambda: listeners.keeper.refused["unknown key"])
    assert listeners.sockets["beats"].poll(0) == 0


def test_a_banned_key_comes_in_nowhere_whatever_the_lists_say(listeners):
    keys = KeyPair.new()
    listeners.keeper.ban(keys.public)
    listeners.keeper.admit("agents", {keys.public: Owner("host/two", 1)})
    assert listeners.keeper.owner("agents", keys.public) is None
    with listeners.dialled("agents", keys) as line:
        line.send(b"hello")
        until(lambda: listeners.keeper.refused["unknown key"])
    assert listeners.sockets["agents"].poll(0) == 0


def test_many_unknown_keys_do_not_keep_a_known_one_waiting(listeners):
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_HELD + 20):
            stack.enter_context(listeners.dialled("agents", KeyPair.new()))
        until(lambda: listeners.keeper.refused["unknown key"])  # more than are held
        keys = KeyPair.new()
        listeners.keeper.admit("agents", {keys.public: Owner("host/two", 1)})
        with listeners.dialled("agents", keys) as line:
            line.send(b"hello")
            assert heard(listeners.sockets["agents"]).bytes == b"hello"


def test_without_a_doorkeeper_nobody_comes_in():
    door = TcpDoor(keys=KeyPair.new())
    context, own = sockets.new_context(), sockets.new_context()
    try:
        listener, address = sockets.tcp_router(context, door, "agents")
        line, monitor = sockets.tcp_dealer(own, address, door.keys.public, door)
        line.send(b"hello")
        events = set()
        while not events & {zmq.EVENT_DISCONNECTED, zmq.EVENT_HANDSHAKE_SUCCEEDED}:
            assert monitor.poll(PATIENCE_S * 1000)
            events.add(int.from_bytes(monitor.recv_multipart()[0][:2], "little"))
        assert zmq.EVENT_HANDSHAKE_SUCCEEDED not in events and listener.poll(0) == 0
    finally:
        own.destroy(linger=0)
        context.destroy(linger=0)


def test_closing_twice_and_using_it_afterwards_is_harmless(listeners):
    listeners.keeper.close()
    listeners.keeper.close()
    listeners.keeper.admit("agents", {})
    listeners.keeper.hung_up("x", forget=True)
    assert listeners.keeper.trouble == {}
