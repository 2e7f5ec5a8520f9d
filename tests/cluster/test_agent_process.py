"""An agent's process on a host: its standard input, its end, and the ports that lead to it."""

from __future__ import annotations

import collections
import select
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from actorrl.errors import HostError
from actorrl.runtime import strays
from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.launchers import agent_process
from actorrl.runtime.launchers.agent_process import AgentPlace, SshAgentProcess
from actorrl.runtime.launchers.dialling import connect
from tests.cluster.sandboxes import Sandbox
from tests.runtime.clusters import wait_until

PATIENCE_S = 30
# Says what it was given, then waits for the end of its standard input.
SPEAKING = """
import os, sys
stdin = open(0, "rb", 0, closefd=False)
print("run", os.environ["ACTORRL_RUN_ID"], os.environ["WORD"], flush=True)
print("leader", os.getsid(0) == os.getpid(), "arguments", sys.argv, flush=True)
print("config", stdin.read(5).decode(), flush=True)
print("end", stdin.read(1), flush=True)
sys.exit(7)
"""


@pytest.fixture
def agent(request, tmp_path, monkeypatch) -> Iterator[Callable[..., SshAgentProcess]]:
    """agent(sandbox, main, python=None) -> one that is not started"""
    made: list[SshAgentProcess] = []

    def make(sandbox: Sandbox, main: str, python: str | None = None) -> SshAgentProcess:
        monkeypatch.setattr(agent_process, "_MAIN", main)
        path = sandbox.cluster(tmp_path / "cluster.yml", sandbox.addresses[0])
        [host] = load_cluster(path).hosts
        assert host.ssh is not None
        place = AgentPlace(python or host.python, "~", {"WORD": "a $b 'c'\n\"d\""})
        connection, drops = connect(host.ssh, host.name), collections.Counter()
        made.append(SshAgentProcess(connection, place, "test-run", drops))
        return made[-1]

    yield make
    for each in made:
        each.close()


def has_ended(agent: SshAgentProcess) -> bool:
    return bool(select.select([agent], [], [], PATIENCE_S)[0])


def wait_for(agent: SshAgentProcess, word: str) -> str:
    for _ in range(PATIENCE_S * 20):
        if word in agent.stderr_tail():
            break
        agent.wait(0.05)
    return agent.stderr_tail()


def test_an_agent_gets_its_configuration_on_standard_input_alone(flat, agent):
    started = agent(flat, SPEAKING)
    started.start(b"hello")
    said = wait_for(started, "config")
    assert "run test-run a $b 'c'" in said and "leader True arguments ['-c']" in said
    assert "config hello" in said
    assert started.poll() is None and started.pid


def test_the_end_of_an_agent_can_be_waited_for_and_says_its_code(flat, agent):
    started = agent(flat, "import sys; sys.exit(7)")
    started.start(b"")
    assert has_ended(started) and started.poll() == 7
    assert not started.connection_lost


def test_an_agent_sees_the_end_of_its_lifeline(flat, agent):
    started = agent(flat, SPEAKING)
    started.start(b"hello")
    started._channel.shutdown_write()
    assert has_ended(started) and started.poll() == 7
    assert "end b''" in started.stderr_tail()


def test_a_killed_agent_ends_although_it_does_not_read(flat, agent):
    started = agent(flat, "import time; time.sleep(600)")
    started.start(b"")
    started.kill()
    assert has_ended(started) and started.poll() == -1


def test_an_agent_that_is_killed_and_let_go_at_once_ends_all_the_same(flat, agent):
    started = agent(flat, "import time; time.sleep(600)")
    started.start(b"")
    wait_until(lambda: strays.of_run("test-run") != [])  # it shows once its exec is over
    started.kill()
    started.close()
    wait_until(lambda: strays.of_run("test-run") == [])


def test_a_lost_connection_is_an_end_of_which_nothing_is_known(far_away, agent):
    started = agent(far_away, SPEAKING)
    started.start(b"hello")
    started._connection.close()
    assert has_ended(started) and started.poll() == -1 and started.connection_lost


def test_an_agent_that_does_not_start_says_why(flat, agent):
    with pytest.raises(HostError, match=r"agent: it does not start\n.*nowhere"):
        agent(flat, SPEAKING, python="/nowhere/python").start(b"")


def test_ports_lead_from_the_host_to_the_driver_and_back(far_away, agent):
    started = agent(far_away, SPEAKING)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        there = started.forward_to_driver(server.getsockname()[1])
        here = started.forward_from_driver(there)
        with socket.create_connection(("127.0.0.1", here), timeout=PATIENCE_S) as connection:
            sent = bytes(range(256)) * 4096
            threading.Thread(target=_send, args=(connection, sent), daemon=True).start()
            received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert received == sent


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def _echo(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while part := connection.recv(1 << 16):
            connection.sendall(part)
