"""Memory is handed out to whoever asks as agreed; whoever does not harms nobody else."""

from __future__ import annotations

import os
import socket
import tempfile
import threading

import msgspec
import pytest

from actorrl.errors import WireError
from actorrl.wire.shared_memory import MemoryClient
from tests.wire.memory_server import ServedMemory


def test_the_server_keeps_no_descriptor_of_what_it_forgot(client, memory):
    before = len(os.listdir("/proc/self/fd"))
    for round in range(50):
        client.create("x#1", 4096 * (round + 1))
    memory.server.forget(lambda name: True)
    assert len(os.listdir("/proc/self/fd")) <= before + 3


def test_a_question_too_long_to_ask_breaks_nothing(client):
    with pytest.raises(WireError):
        client.open("x" * 10_000)
    client.create("small", 64)


def test_a_server_that_has_gone_is_a_wire_error(memory):
    client = MemoryClient("/nonexistent/memory")
    with pytest.raises(WireError, match="does not hand out"):
        client.open("x")


def test_a_client_waits_where_the_servers_queue_is_full(tmp_path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(tmp_path / "memory"))
    listener.listen(0)
    first = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    first.connect(str(tmp_path / "memory"))  # fills it
    client = MemoryClient(str(tmp_path / "memory"))
    said = []

    def ask():
        with pytest.raises(WireError) as caught:
            client.open("x")
        said.append(str(caught.value))

    asker = threading.Thread(target=ask)
    asker.start()
    asker.join(0.3)
    assert asker.is_alive(), f"it has given up: {said}"
    listener.accept()[0].close()
    second, _ = listener.accept()
    assert second.recv(100)  # its question has come
    second.close()
    asker.join(10)
    assert "hung up" in said[0]
    first.close()
    listener.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xc1nonsense",
        b"\x93\xa6create\xa1\xff\x01",
        b"\x94\xa6create\xa1x\x01" + b"\x91" * 4000,
        msgspec.msgpack.encode(["create", "x", 2**63]),
        msgspec.msgpack.encode(["create", "x", -1]),
        msgspec.msgpack.encode(["steal", "x", 64]),
    ],
)
def test_nonsense_from_a_client_ends_only_its_own_line(client, memory, nonsense):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.connect(memory.address)
        stranger.send(nonsense)
        assert stranger.recv(100) == b""
    client.create("small", 64)


def test_the_answer_to_a_question_that_was_interrupted_is_not_taken_for_the_next(
    client, monkeypatch
):
    client.create("first", 64)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(socket, "recv_fds", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.open("first")
    assert client.create("second", 4096).nbytes == 4096


def test_who_was_connected_to_a_server_that_has_ended_asks_its_successor():
    with tempfile.TemporaryDirectory(prefix="rt-") as folder:
        client = MemoryClient(f"{folder}/memory")
        for nbytes in (64, 4096):
            with ServedMemory(f"{folder}/memory").running():
                assert client.create("x", nbytes).nbytes == nbytes
            os.unlink(f"{folder}/memory")
        client.close()
