"""What becomes of bytes that are no control message, and of whoever sends them."""

from __future__ import annotations

import collections
import contextlib
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from actorrl.runtime.actors_line import ActorsLine
from actorrl.runtime.control_socket import MAX_AT_ONCE, received
from actorrl.runtime.host_specs import LOCAL
from actorrl.runtime.running import Running
from actorrl.wire import sockets
from actorrl.wire.control_messages import (
    ActorEvent,
    Control,
    Health,
    LogLines,
    StopAll,
    Traffic,
    encode_control,
)
from actorrl.wire.offences import MAX_OFFENCES, Offences
from tests.faults import garbage
from tests.runtime.agents import lone_agent
from tests.runtime.clusters import PATIENCE_S, cluster_of, wait_until

WORD = StopAll(1.0)


class World:
    """A socket of ours, and whom it listens to."""

    def __init__(self, folder: Path) -> None:
        self._context = sockets.new_context()
        self._address = f"ipc://{folder}/control"
        self._ours = sockets.router(self._context, self._address)
        self._theirs: list[zmq.Socket] = []
        self.drops: collections.Counter[str] = collections.Counter()
        self.offences = Offences(self.drops, "from an actor")
        self.heard: list[object] = []

    def peer(self) -> zmq.Socket:
        self._theirs.append(sockets.dealer(self._context, self._address))
        return self._theirs[-1]

    def hear(self, count: int) -> None:
        """Until so many words, good and bad, have come since the start."""

        def has_come() -> bool:
            self.heard += [word for _, word in received(self._ours, 2, self.offences)]
            return len(self.heard) + self.drops["malformed"] >= count

        wait_until(has_come)

    def close(self) -> None:
        for socket in (self._ours, *self._theirs):
            socket.close(linger=0)
        self._context.term()


class Peer:
    """At a socket of a run, as an actor would be."""

    def __init__(self, run_id: str, name: str) -> None:
        self._context = sockets.new_context()
        (folder,) = Path(tempfile.gettempdir()).glob(f"actorrl-*/{run_id}")
        self._socket = sockets.dealer(self._context, f"ipc://{folder / name}")

    def say(self, word: Control) -> None:
        self._socket.send(encode_control(word))

    def close(self) -> None:
        self._socket.close()
        self._context.term()


@pytest.fixture
def world(tmp_path_factory) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:  # its path has to be short
        world = World(Path(folder))
        yield world
        world.close()


def test_who_sends_nonsense_is_counted_and_not_listened_to_any_more(world, capfd):
    draw = random.Random(5)
    evil, good = world.peer(), world.peer()
    for _ in range(1000):
        evil.send(draw.randbytes(60))
    world.hear(1000)
    evil.send(encode_control(WORD))
    good.send(encode_control(WORD))
    world.hear(1002)
    assert world.heard == [WORD] and world.drops["malformed"] == 1001
    said = capfd.readouterr().err
    assert len(said.splitlines()) == 10 and "512 of the kind so far" in said
    assert max(map(len, said.splitlines())) < 400


def test_a_slip_is_forgiven(world):
    peer = world.peer()
    for _ in range(MAX_OFFENCES - 1):
        peer.send_multipart([b"one", b"too many"])
    peer.send(encode_control(WORD))
    world.hear(MAX_OFFENCES)
    assert world.heard == [WORD] and world.drops["malformed"] == MAX_OFFENCES - 1


@pytest.fixture
def context() -> Iterator[zmq.Context]:
    context = sockets.new_context()
    yield context
    context.destroy(linger=0)


def test_a_sender_that_never_stops_is_heard_a_turn_at_a_time(context):
    address = "inproc://control"  # what is sent there has arrived
    ours, theirs = sockets.router(context, address), sockets.dealer(context, address)
    for _ in range(2 * MAX_AT_ONCE + 1):
        theirs.send(encode_control(WORD))
    offences = Offences(collections.Counter())
    turns = [len(list(received(ours, 2, offences))) for _ in range(4)]
    assert turns == [MAX_AT_ONCE, MAX_AT_ONCE, 1, 0]


def test_who_has_ended_is_heard_to_its_last_word(context):
    ended = Running("worker/0", 1, "", 0, 60.0, 0)
    line = ActorsLine(context, "inproc://agent", {"worker/0": ended}, collections.Counter())
    actor = sockets.dealer(context, "inproc://agent")
    said = [ActorEvent("worker/0", 1, f"event {i}", {}) for i in range(3 * MAX_AT_ONCE)]
    for word in said:
        actor.send(encode_control(word))
    assert [word for _, word in line.last_words(ended, 0)] == said


def test_bytes_that_mean_nothing_to_an_agent_are_an_event_and_a_few_lines(run_id, tmp_path):
    events: list[dict] = []
    with cluster_of(1, on_event=events.append, run_id=run_id, log_dir=tmp_path) as cluster:
        garbage.send(run_id, 7)

        def told() -> int:
            return sum(e["count"] for e in events if e["event"] == "malformed_control")

        wait_until(lambda: told() == garbage.MESSAGES)
        wait_until(lambda: cluster.drops().keys() >= {"agent", "driver", "worker"})
        drops = cluster.drops()
        assert drops["agent"]["malformed"] == garbage.MESSAGES
        assert min(drops["driver"]["malformed"], drops["worker"]["malformed"]) > 0
        assert cluster.ref("worker/0").add.call().result() == 1
    log = (tmp_path / "agent-local.log").read_text()
    assert "warning: from an actor: " in log and len(log.splitlines()) < 10


def test_words_that_are_well_formed_and_make_no_sense_end_nobody(run_id, tmp_path):
    events: list[dict] = []
    with cluster_of(1, on_event=events.append, run_id=run_id, log_dir=tmp_path) as cluster:
        details = {"actor": "worker/7", "event": "run_failed", "time": 0, "kind": "x", "self": 1}
        with contextlib.closing(Peer(run_id, "agent")) as peer:
            peer.say(ActorEvent("worker/0", 1, "said", details))
            peer.say(Traffic("worker/0", 1, {"\0": -1}, {"\0": -1}))
        wait_until(lambda: any(event["event"] == "said" for event in events))
        assert cluster.drops() == {}
        (said,) = [event for event in events if event["event"] == "said"]
        assert (said["actor"], said["incarnation"]) == ("worker/0", 1) and said["time"] > 0
        assert cluster._service is not None and cluster._service._reception is not None
        for name in ("a\0b", "worker/7", "../worker/0"):
            cluster._service._reception.heard(LOCAL, LogLines(name, "text", 0))
        cluster._service._reception.heard(LOCAL, Health({"worker/7": (1.0, 1)}, 0))
        assert list(cluster._service._reception._health) in ([], ["worker/0"])
        assert cluster.ref("worker/0").add.call().result() == 1
    assert {path.name for path in tmp_path.iterdir()} == {"agent-local.log", "worker-0.log"}


def test_an_agent_whose_driver_cannot_be_understood_leaves_and_says_why(run_id, tmp_path):
    with lone_agent(run_id, tmp_path) as agent:
        for _ in range(MAX_OFFENCES):
            agent.say(b"nonsense")
        assert agent.process.wait(PATIENCE_S) == 1
        assert "the driver's words cannot be read" in agent.process.stderr_tail()
