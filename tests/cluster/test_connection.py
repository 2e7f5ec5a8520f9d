"""Servers that are too busy, servers that are something else, and many hosts at the same time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from actorrl.errors import HostError
from actorrl.runtime.host_specs import SshSpec
from actorrl.runtime.launchers.dialling import connect
from tests.cluster import sandboxes
from tests.cluster.light import counters_over
from tests.cluster.runs import processes
from tests.cluster.sandboxes import Sandbox
from tests.runtime.clusters import wait_until

FULL = b"Exceeded MaxStartups\r\n"  # what sshd says when it refuses a login


@contextlib.contextmanager
def busy_door(address: str, refusals: int) -> Iterator[int]:
    """A port that refuses so many connections as a busy sshd does, then leads to a host's."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                for _ in range(refusals):
                    visitor, _ = server.accept()
                    visitor.sendall(FULL)
                    visitor.close()
                visitor, _ = server.accept()
                inside = socket.create_connection((address, 22))
                for pair in ((visitor, inside), (inside, visitor)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while part := source.recv(1 << 16):
            sink.sendall(part)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def through(sandbox: Sandbox, port: int, tmp_path, timeout_s: float) -> SshSpec:
    """To the sandbox's first host, by way of a port of this machine."""
    [key] = [
        line.split(" ", 1)[1]
        for line in sandbox.known_hosts.read_text().splitlines()
        if line.startswith(f"{sandbox.addresses[0]} ")
    ]
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key}\n")
    return SshSpec(
        host="127.0.0.1",
        port=port,
        user="rl",
        identity_file=str(sandbox.key),
        known_hosts=(str(tmp_path / "known"),),
        connect_timeout_s=timeout_s,
    )


def test_a_busy_server_is_asked_again(flat, tmp_path):
    with busy_door(flat.addresses[0], refusals=2) as port:
        connection = connect(through(flat, port, tmp_path, timeout_s=60), "busy")
        assert connection.retries == 2 and connection.is_alive
        connection.close()


def test_a_server_that_always_hangs_up_is_given_up_in_time(flat, tmp_path):
    with busy_door(flat.addresses[0], refusals=1000) as port:
        start = time.monotonic()
        with pytest.raises(HostError, match=r"busy: \S+ hangs up before it says .*\n.*MaxStartups"):
            connect(through(flat, port, tmp_path, timeout_s=4), "busy")
        assert time.monotonic() - start < 15


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_thirty_hosts_come_up_through_one_jump_host(namespaces, tmp_path):
    """Its sshd has MaxStartups 10:30:100; in the end every host has an actor that answers."""
    sandbox = sandboxes.up(tmp_path / "s", 30, "--jump")
    try:
        (tmp_path / "project").mkdir()
        hosts = tmp_path / "project" / "cluster.yml"
        sandbox.cluster(hosts, *sandbox.addresses, connect_timeout_s=60)
        start = time.monotonic()
        with counters_over(hosts, 30) as cluster:
            print(f"30 hosts with an actor each are ready: {time.monotonic() - start:.1f} s")
            rows = cluster.status()
            actors = [row for row in rows if row["role"] == "counter"]
            assert {row["state"] for row in actors} == {"ready"}
            assert {row["host"] for row in actors} == set(sandbox.addresses)
            asked = [cluster.ref(row["name"]).add.call(1) for row in actors]
            assert [future.result() for future in asked] == [1] * 30
        wait_until(lambda: processes(sandbox) == [])
    finally:
        sandboxes.down(sandbox.directory)
