"""What becomes of an SSH connection that is not there any more."""

from __future__ import annotations

import socket

import paramiko
import pytest

from actorrl.errors import HostError
from actorrl.runtime.host_specs import SshSpec
from actorrl.runtime.launchers.connection import Connection
from actorrl.runtime.launchers.remote_command import open_session


class Broken:
    """A transport that fails as paramiko's do."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def set_keepalive(self, seconds: int) -> None: ...

    def open_session(self, timeout: float) -> None:
        raise self.error


def over(transport: object) -> Connection:
    return Connection("far", SshSpec(host="far", user="u"), [transport], 0)


def test_a_connection_that_has_ended_is_the_hosts_error():
    ours, theirs = socket.socketpair()
    transport = paramiko.Transport(ours)
    try:
        with pytest.raises(HostError, match=r"^far: the SSH connection is lost \(SSH session not"):
            open_session(over(transport), 1.0)
    finally:
        transport.close()
        ours.close()
        theirs.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (paramiko.SSHException("Timeout opening channel."), "is lost .Timeout opening channel"),
        (EOFError(), "is lost .EOFError"),
        (ConnectionResetError("reset by peer"), "is lost .reset by peer"),
        (paramiko.ChannelException(1, "prohibited"), "opens no session .prohibited(.|\n)*MaxSes"),
    ],
)
def test_whatever_a_session_is_refused_with_is_the_hosts_error(error, said):
    with pytest.raises(HostError, match=said):
        open_session(over(Broken(error)), 1.0)


def test_of_a_connection_that_has_ended_no_address_is_known():
    """As that of a host which was ready before others were, and has gone since."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        transport = paramiko.Transport(ours)
        connection = over(transport)
        assert connection.dialled_address == "127.0.0.1"
        transport.close()
        ours.close()
        assert connection.dialled_address == ""
