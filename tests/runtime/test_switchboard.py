"""The driver's sockets to the agents: who is heard, and what becomes of nonsense."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from actorrl.runtime.switchboard import Switchboard
from actorrl.wire import sockets
from actorrl.wire.control_messages import AgentHello, Control, encode_control
from actorrl.wire.keys import KeyPair
from actorrl.wire.outside import MAX_OFFENCES
from actorrl.wire.sockets import TcpDoor

PATIENCE_S = 30.0
PORTS = (23_000, 23_999)


class World:
    """The driver's board, and agents of two hosts that it admits."""

    def __init__(self, folder: Path) -> None:
        self.driver = KeyPair.new()
        self.board = Switchboard(folder, TcpDoor(keys=self.driver, ports=PORTS))
        self.keys = {host: KeyPair.new() for host in ("one", "two")}
        self.board.admit({host: (1, keys.public) for host, keys in self.keys.items()})
        self.heard: list[tuple[str, Control]] = []

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, self.board.drops
            self.board.sources()[1].poll(20)
            self.heard += self.board.heard()

    @contextlib.contextmanager
    def agent(self, keys: KeyPair) -> Iterator[zmq.Socket]:
        address = f"tcp://127.0.0.1:{self.board.tcp_port}"
        context = sockets.new_context()
        line, monitor = sockets.tcp_dealer(context, address, self.driver.public, TcpDoor(keys=keys))
        try:
            yield line
        finally:
            monitor.close()
            line.close(linger=0)
            context.term()


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.board.close()


def hello(host: str) -> bytes:
    return encode_control(AgentHello(host, 1, 7, 1, 2, 10**9))


def test_who_sends_nonsense_is_counted_and_cut_off_and_the_others_are_heard(world):
    draw = random.Random(3)
    with world.agent(world.keys["one"]) as evil, world.agent(world.keys["two"]) as good:
        for _ in range(MAX_OFFENCES):
            evil.send(draw.randbytes(60))
        world.until(lambda: world.board.drops["malformed"] == MAX_OFFENCES)
        assert world.board.drops["agent cut off"] == 1
        evil.send(hello("one"))
        good.send(hello("two"))
        world.until(lambda: bool(world.heard))
        world.until(lambda: world.board.drops["from a key that is not listed"] == 1)
    assert [host for host, _ in world.heard] == ["two"]


def test_an_agent_speaks_for_its_own_host_only(world):
    with world.agent(world.keys["one"]) as line:
        line.send(hello("two"))
        world.until(lambda: world.board.drops["from an unknown agent"] == 1)
        line.send(hello("one"))
        world.until(lambda: bool(world.heard))
    assert [host for host, _ in world.heard] == ["one"]
