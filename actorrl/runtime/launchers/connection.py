"""An SSH connection to a host that was dialled (`dialling`), through any number of hops."""

from __future__ import annotations

import contextlib
from typing import Any

import paramiko

from actorrl.runtime.host_specs import SshSpec

_KEEPALIVE_S = 15


class Connection:
    """Logged in. `transport` is paramiko's, of the last server; `retries` says how often a server
    on the way was too busy."""

    def __init__(self, name: str, spec: SshSpec, chain: list[Any], retries: int) -> None:
        self.name = name
        self.spec = spec
        self.retries = retries
        self._chain = chain
        for transport in chain:
            transport.set_keepalive(_KEEPALIVE_S)

    @property
    def transport(self) -> Any:
        return self._chain[-1]

    @property
    def is_alive(self) -> bool:
        return bool(self.transport.is_active())

    @property
    def driver_address(self) -> str:
        """The address of this machine's end of the way."""
        address: str = self._chain[0].sock.getsockname()[0]
        return address

    @property
    def dialled_address(self) -> str:
        """The host's address as this machine dials it; "" behind a hop, and where the connection
        has ended."""
        address = ""
        if len(self._chain) == 1:
            with contextlib.suppress(OSError):
                address = self._chain[0].sock.getpeername()[0]
        return address

    def close(self) -> None:
        close_chain(self._chain)


def close_quietly(channel: Any) -> None:
    """Whatever state it and its connection are in."""
    with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
        channel.close()


def close_chain(chain: list[Any]) -> None:
    for transport in reversed(chain):
        close_quietly(transport)
