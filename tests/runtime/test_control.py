"""The thread of an actor that its agent and the control lane find, whatever both of them do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from actorrl.runtime.calls import Caller
from actorrl.runtime.control import ControlThread
from actorrl.wire import sockets
from actorrl.wire.control_messages import ActorEvent, ActorReady, ActorSpec, decode_control
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.messages import Kind, Message, Peer
from tests.runtime.clusters import PATIENCE_S, Worker, wait_until

NAME = "worker/0"
EVENT = ActorEvent(NAME, 1, "said", {})


class World:
    """A control thread, its agent's address, where nobody listens yet, and a caller."""

    def __init__(self, folder: Path) -> None:
        address, agent_address = f"ipc://{folder}/worker", f"ipc://{folder}/agent"
        spec = ActorSpec(
            name=NAME,
            incarnation=1,
            host="here",
            address=address,
            agent_address=agent_address,
            agent_pid=os.getpid(),
            memory_address="",
            log_file="",
            blob=b"",
        )
        self._context = sockets.new_context()
        self._agent_address = agent_address
        self.thread = ControlThread(spec, lambda message: None)
        self.thread.start()
        self.door = Endpoint("driver", 0, f"ipc://{folder}/driver")
        self.door.post_peers({NAME: Peer(1, address, "here")})
        self.caller = Caller(self.door)

    def listen(self) -> zmq.Socket:
        return sockets.router(self._context, self._agent_address)

    def close(self) -> None:
        self._context.destroy(linger=0)
        self.door.close()


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:  # its path has to be short
        world = World(Path(folder))
        yield world
        world.thread.finish()
        world.close()


def test_an_agent_that_takes_nothing_is_not_waited_for_and_hears_the_rest_later(world):
    num_told = 0
    while not world.thread.drops:
        world.thread.tell(EVENT)
        num_told += 1
        assert num_told < 100_000
    world.thread.tell(ActorReady(NAME, 1))  # is never dropped
    world.thread.serve(Worker())
    assert world.caller.call(NAME, "look", (), {}, PATIENCE_S, "control").result() == 0
    agent = world.listen()
    num_heard = 0
    while True:
        assert agent.poll(int(PATIENCE_S * 1000))
        _, frame = agent.recv_multipart()
        if decode_control(frame) != EVENT:
            break
        num_heard += 1
    assert decode_control(frame) == ActorReady(NAME, 1)
    assert num_heard + world.thread.drops["word to the agent"] == num_told


def test_a_tell_without_arguments_does_not_end_the_process(world):
    world.thread.serve(Worker())
    for body in ([5, {}], [[], {7: 8}], None):
        assert world.door.knows(NAME) or world.door.receive(0) == []
        assert world.door.send(f"{NAME}!", Message(Kind.TELL, "look", body))
    wait_until(lambda: world.thread.drops == {"told a method without arguments": 3})
    assert world.caller.call(NAME, "look", (), {}, PATIENCE_S, "control").result() == 0
