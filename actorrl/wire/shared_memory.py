"""Memory that processes of one host share, and who hands it out; `slabs` and `blocks` lie there.

All of it is memfds: nameless, so that nothing can be left behind, whoever is killed. One process of
the host, the agent, creates them and hands their descriptors over a Unix socket (`MemoryServer`);
the others ask by a name that means nothing outside (`MemoryClient`).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta

from actorrl import failpoints
from actorrl.errors import WireError

ALIGN = 64
_REQUEST_LIMIT = 4096
_MAX_NBYTES = 2**63 - 1  # of a file
_TIMEOUT_S = 10.0  # of the agent, for one client's request
_PATIENCE_S = 60  # of a client: hundreds may ask at once, or the agent stand still for a while
_QUEUE = 4096  # of clients that wait to be accepted (Linux's own bound of it)


def aligned(nbytes: int) -> int:
    return (nbytes + ALIGN - 1) // ALIGN * ALIGN


Verb = Literal["create", "open", "keep", "drop"]  # keep: create unless it exists


class Ask(msgspec.Struct, array_like=True):
    """A client's request."""

    verb: Verb
    name: str
    nbytes: Annotated[int, Meta(ge=0, le=_MAX_NBYTES)]


def decode_ask(request: bytes) -> Ask:
    """Raises WireError."""
    try:
        return msgspec.msgpack.decode(request, type=Ask)
    except (ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise WireError(f"no request for shared memory: {error}") from error


class MemoryServer:
    """The agent's side: owns every memfd of the host. Served from the agent's only loop."""

    def __init__(self, address: str) -> None:
        self._memory: dict[str, int] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(address)
        self._listener.listen(_QUEUE)
        self._listener.setblocking(False)
        self._connections: dict[int, socket.socket] = {}

    def fileno(self) -> int:
        return self._listener.fileno()

    def hold(self, name: str, nbytes: int) -> np.ndarray:
        """Make a memory that the agent itself looks at; the others `open` it."""
        return np.frombuffer(mmap.mmap(self._make(Ask("keep", name, nbytes)), 0), dtype=np.uint8)

    def accept(self) -> socket.socket | None:
        """A new client's connection, to be polled and handed to `serve`."""
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has gone again, or there are no descriptors left: it will try again
            return None
        connection.settimeout(_TIMEOUT_S)
        self._connections[connection.fileno()] = connection
        return connection

    def serve(self, fileno: int) -> bool:
        """Answer one request; False when the client has gone and was forgotten."""
        connection = self._connections[fileno]
        try:
            request = connection.recv(_REQUEST_LIMIT)
            if not request:
                raise ConnectionResetError
            self._answer(connection, request)
            return True
        except (OSError, WireError):
            del self._connections[fileno]
            connection.close()
            return False

    def _answer(self, connection: socket.socket, request: bytes) -> None:
        ask = decode_ask(request)
        try:
            fd = self._find(ask)
        except OSError as error:  # no memory for a slab: the client falls back to frames
            connection.send(b"!" + str(error).encode())
            return
        if fd is None:
            connection.send(b"?")
        else:
            socket.send_fds(connection, [b"="], [fd])

    def _find(self, ask: Ask) -> int | None:
        fd = self._memory.get(ask.name)
        if ask.verb == "open" or (ask.verb == "keep" and fd is not None):
            return fd
        self._drop(ask.name)
        return None if ask.verb == "drop" else self._make(ask)

    def _make(self, ask: Ask) -> int:
        if failpoints.ACTIVE and ask.verb == "create":
            failpoints.reach("memory.create")
        try:
            fd = os.memfd_create("actorrl", os.MFD_CLOEXEC)
        except OSError as error:
            raise OSError(
                error.errno,
                f"memfd_create is refused ({error.strerror}), and processes share memory by it:"
                " whatever confines this one (a container, a sandbox) has to allow it",
            ) from None
        try:
            os.truncate(fd, ask.nbytes)
        except OSError:
            os.close(fd)
            raise
        self._memory[ask.name] = fd
        return fd

    def _drop(self, name: str) -> None:
        fd = self._memory.pop(name, None)
        if fd is not None:
            os.close(fd)

    def forget(self, chosen: Callable[[str], bool]) -> None:
        """Give back the memories of the names chosen; who has one mapped keeps it."""
        for name in list(self._memory):
            if chosen(name):
                self._drop(name)

    @property
    def num_held(self) -> int:
        return len(self._memory)

    def close(self) -> None:
        for name in list(self._memory):
            self._drop(name)
        for connection in self._connections.values():
            connection.close()
        self._listener.close()


class MemoryClient:
    """The side of everybody else. One question at a time, from any thread."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def create(self, name: str, nbytes: int) -> np.ndarray:
        return self._ask("create", name, nbytes)

    def keep(self, name: str, nbytes: int) -> np.ndarray:
        """The memory of that name, made now unless it exists (then its own size counts)."""
        return self._ask("keep", name, nbytes)

    def open(self, name: str) -> np.ndarray:
        return self._ask("open", name, 0)

    def drop(self, name: str) -> None:
        """Nobody will open it again; who has it mapped keeps it."""
        with contextlib.suppress(KeyError):
            self._ask("drop", name, 0)

    def _ask(self, verb: Verb, name: str, nbytes: int) -> np.ndarray:
        """Writable bytes of the memory. Raises KeyError if there is none of that name, MemoryError
        if the host has no room for it, WireError if the agent does not answer."""
        with self._lock:
            answer, fds = self._exchange(msgspec.msgpack.encode(Ask(verb, name, nbytes)))
        if answer == b"?":
            raise KeyError(name)
        if answer != b"=" or not fds:
            raise MemoryError(f"{nbytes} bytes of shared memory: {answer[1:].decode()}")
        try:
            return np.frombuffer(mmap.mmap(fds[0], 0), dtype=np.uint8)
        except OSError as error:  # no address space left
            raise MemoryError(f"{nbytes} bytes of shared memory: {error}") from error
        finally:
            os.close(fds[0])

    def _exchange(self, request: bytes) -> tuple[bytes, list[int]]:
        was_connected = self._socket is not None
        try:
            try:
                return self._answered(request)
            except ConnectionError:  # the agent has ended, and its successor may be there
                if not was_connected:
                    raise
                return self._answered(request)
        except OSError as error:
            raise WireError(f"the agent does not hand out shared memory: {error}") from error

    def _answered(self, request: bytes) -> tuple[bytes, list[int]]:
        """Raises OSError."""
        answer = b""
        try:
            if len(request) > _REQUEST_LIMIT:
                raise OSError(f"a question of {len(request)} bytes")
            if self._socket is None:
                self._socket = self._connected()
            self._socket.send(request)
            answer, fds, _, _ = socket.recv_fds(self._socket, _REQUEST_LIMIT, 1)
            if not answer:
                raise ConnectionResetError("it has hung up")
        finally:
            if not answer:  # one that is late, as after Ctrl-C, is not that to the next question
                self.close()
        return answer, fds

    def _connected(self) -> socket.socket:
        found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Not `settimeout`: such a socket gives up at once (EAGAIN) where the queue there is full.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _PATIENCE_S, 0))
        try:
            found.connect(self._address)
        except OSError:
            found.close()
            raise
        found.settimeout(_PATIENCE_S)
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
