"""TCP connections carried over a host's SSH connection, where nothing else gets through.

    to the driver:    host 127.0.0.1:REMOTE  == SSH ==>  driver's port
    from the driver:  driver 127.0.0.1:LOCAL == SSH ==>  host's port

Slow (tens of MB/s in all): fine for control, poor for samples.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import socket
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import paramiko

from actorrl.errors import HostError
from actorrl.runtime.launchers.connection import Connection, close_quietly

MAX_CONNECTIONS = 256  # at a time, over all forwards of a host; what comes then is closed
_PART = 1 << 16
_CONNECT_S = 10.0
_LOOPBACK = "127.0.0.1"


class _Goal(NamedTuple):
    address: str
    port: int


class Forwards:
    """All forwards of one connection; they end with it, or with `close`. Any thread may call. Those
    beyond the limit are counted in `drops`."""

    def __init__(self, connection: Connection, drops: collections.Counter[str]) -> None:
        self._connection = connection
        self._goals: dict[int, _Goal] = {}  # remote port -> where the driver sends it
        self._listeners: list[socket.socket] = []
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._drops = drops

    def to_driver(self, port: int, address: str = _LOOPBACK) -> int:
        """A port of the host's loopback interface that leads to the driver's. Raises HostError."""
        try:
            remote: int = self._connection.transport.request_port_forward(
                _LOOPBACK, 0, self._on_incoming
            )
        except paramiko.SSHException:
            raise HostError(self._not_allowed("AllowTcpForwarding remote")) from None
        self._goals[remote] = _Goal(address, port)
        return remote

    def from_driver(self, port: int, address: str = _LOOPBACK) -> int:
        """A port of the driver's loopback interface that leads to the host's; `address` is as seen
        from the host."""
        listener = socket.create_server((_LOOPBACK, 0))
        self._listeners.append(listener)
        goal = _Goal(address, port)
        self._start(f"forward {self._connection.name}", lambda: self._accept(listener, goal))
        local: int = listener.getsockname()[1]
        return local

    def close(self) -> None:
        """New connections are refused; those under way end with the SSH connection."""
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            listener.close()
        for remote in self._goals:
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                self._connection.transport.cancel_port_forward(_LOOPBACK, remote)
        self._goals.clear()
        self._listeners.clear()

    # ---- connections --------------------------------------------------------------------

    def _on_incoming(self, channel: Any, _origin: Any, server: tuple[str, int]) -> None:
        """On paramiko's thread, which must not wait; one handler serves all of its ports."""
        goal = self._goals.get(server[1])
        if goal is None:
            close_quietly(channel)
            return
        self._serve(channel, lambda: socket.create_connection(goal, timeout=_CONNECT_S))

    def _accept(self, listener: socket.socket, goal: _Goal) -> None:
        while True:
            try:
                sock, origin = listener.accept()
            except OSError:
                return
            self._serve(sock, functools.partial(self._open, goal, origin))

    def _open(self, goal: _Goal, origin: Any) -> Any:
        return self._connection.transport.open_channel(
            "direct-tcpip", tuple(goal), origin[:2], timeout=_CONNECT_S
        )

    def _serve(self, near: Any, dial: Callable[[], Any]) -> None:
        if not self._slots.acquire(blocking=False):
            self._drops["connection beyond the limit of a forward"] += 1
            close_quietly(near)
            return
        self._start("forward", lambda: self._carry(near, dial))

    def _carry(self, near: Any, dial: Callable[[], Any]) -> None:
        """Both ways until both have ended."""
        try:
            try:
                far = dial()
            except (OSError, EOFError, paramiko.SSHException):
                return
            far.settimeout(None)
            other = self._start("forward", lambda: _pump(far, near))
            _pump(near, far)
            other.join()
            close_quietly(far)
        finally:
            close_quietly(near)
            self._slots.release()

    def _start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def _not_allowed(self, setting: str) -> str:
        return (
            f"{self._connection.name}: its SSH server allows no forwarding\n"
            f"  set {setting} in its sshd_config, or open the network between it and the driver"
        )


def _pump(source: Any, sink: Any) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while part := source.recv(_PART):
            sink.sendall(part)
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        sink.shutdown(socket.SHUT_WR)
