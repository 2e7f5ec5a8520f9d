"""The driver's sockets to the agents: who is heard, and what becomes of nonsense."""

from __future__ import annotations

import collections
import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from actorrl.runtime.driver_line import DriverLine
from actorrl.runtime.switchboard import Switchboard
from actorrl.wire import sockets
from actorrl.wire.control_messages import (
    ActorEvent,
    AgentConfig,
    AgentHello,
    Control,
    encode_control,
)
from actorrl.wire.keys import KeyPair
from actorrl.wire.offences import MAX_OFFENCES
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
        self.cut_off: list[str] = []
        self.board.on_cut_off = self.cut_off.append

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

    @contextlib.contextmanager
    def line(self, keys: KeyPair) -> Iterator[DriverLine]:
        """An agent's own."""
        base = "tcp://127.0.0.1:"
        config = AgentConfig(
            run_id="run",
            host="one",
            incarnation=1,
            driver_address=f"{base}{self.board.tcp_port}",
            beat_address=f"{base}{self.board.tcp_beat_port}",
            log_dir="",
            preload=[],
            slots=[],
            driver_key=self.driver.public,
            tcp=TcpDoor(keys=keys),
        )
        context = sockets.new_context()
        line = DriverLine(config, context, collections.Counter())
        try:
            yield line
        finally:
            line.close()
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
        assert world.board.drops["agent cut off"] == 1 and world.cut_off == ["one"]
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


def test_an_agent_may_say_more_than_goes_into_one_frame(world):
    long = ActorEvent("worker/0", 1, "said", {"text": "x" * (3 << 20)})
    with world.line(world.keys["one"]) as line:
        line.say(AgentHello("one", 1, 7, 1, 2, 10**9))
        line.say(long)
        world.until(lambda: len(world.heard) == 2)
    assert world.heard[1] == ("one", long) and not world.board.drops
