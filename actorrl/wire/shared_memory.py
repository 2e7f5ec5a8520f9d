"""Memory that processes of one host share, and who hands it out; `blocks` has what is newest.

All of it is memfds: nameless, so that nothing can be left behind, whoever is killed. One process of
the host, the agent, creates them and hands their descriptors over a Unix socket (`MemoryServer`);
the others ask by a name that means nothing outside (`MemoryClient`).

A *slab* belongs to one producer and one consumer of one link. It has as many slots as the link has
credit; a slot is free again when its credit comes back, and by nothing else. It is made anew, under
the next generation, when an element does not fit or when the consumer is a new incarnation.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from actorrl import copies, failpoints
from actorrl.errors import WireError

# (shape, dtype) -> an array to be filled
Allocate = Callable[[tuple[int, ...], np.dtype[Any]], np.ndarray]

ALIGN = 64
_REQUEST_LIMIT = 4096
_MAX_NBYTES = 2**63 - 1  # of a file
_TIMEOUT_S = 10.0  # of the agent, for one client's request
_PATIENCE_S = 60.0  # of a client: hundreds may ask at once, or the agent stand still for a while


def own_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Not shared: what is sent from there is copied."""
    return np.empty(shape, dtype)


def aligned(nbytes: int) -> int:
    return (nbytes + ALIGN - 1) // ALIGN * ALIGN


class _Ask(msgspec.Struct, array_like=True):
    verb: str  # "create" | "open" | "keep" (create unless it exists) | "drop"
    name: str
    nbytes: Annotated[int, Meta(ge=0, le=_MAX_NBYTES)]


class MemoryServer:
    """The agent's side: owns every memfd of the host. Served from the agent's only loop."""

    def __init__(self, address: str) -> None:
        self._memory: dict[str, int] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(address)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._connections: dict[int, socket.socket] = {}

    def fileno(self) -> int:
        return self._listener.fileno()

    def hold(self, name: str, nbytes: int) -> np.ndarray:
        """Make a memory that the agent itself looks at; the others `open` it."""
        return np.frombuffer(mmap.mmap(self._make(_Ask("keep", name, nbytes)), 0), dtype=np.uint8)

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
        except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
            del self._connections[fileno]
            connection.close()
            return False

    def _answer(self, connection: socket.socket, request: bytes) -> None:
        ask = msgspec.msgpack.decode(request, type=_Ask)
        try:
            fd = self._find(ask)
        except OSError as error:  # no memory for a slab: the client falls back to frames
            connection.send(b"!" + str(error).encode())
            return
        if fd is None:
            connection.send(b"?")
        else:
            socket.send_fds(connection, [b"="], [fd])

    def _find(self, ask: _Ask) -> int | None:
        fd = self._memory.get(ask.name)
        if ask.verb == "open" or (ask.verb == "keep" and fd is not None):
            return fd
        self._drop(ask.name)
        return None if ask.verb == "drop" else self._make(ask)

    def _make(self, ask: _Ask) -> int:
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

    def forget(self, incarnation: str) -> None:
        """Give back the slabs from and to an incarnation, such as `rollout/3.2`, that has ended."""
        for name in list(self._memory):
            if name.startswith(f"{incarnation}/") or f"/{incarnation}#" in name:
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

    def _ask(self, verb: str, name: str, nbytes: int) -> np.ndarray:
        """Writable bytes of the memory. Raises KeyError if there is none of that name, MemoryError
        if the host has no room for it, WireError if the agent does not answer."""
        with self._lock:
            answer, fds = self._exchange(msgspec.msgpack.encode(_Ask(verb, name, nbytes)))
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
        try:
            if len(request) > _REQUEST_LIMIT:
                raise OSError(f"a question of {len(request)} bytes")
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self._socket.settimeout(_PATIENCE_S)
                self._socket.connect(self._address)
            self._socket.send(request)
            answer, fds, _, _ = socket.recv_fds(self._socket, _REQUEST_LIMIT, 1)
            if not answer:
                raise ConnectionResetError("it has hung up")
        except OSError as error:
            self.close()  # a late answer must not be taken for that to the next question
            raise WireError(f"the agent does not hand out shared memory: {error}") from error
        return answer, fds

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Room:
    """The memory of one slot while it is filled."""

    def __init__(self, memory: np.ndarray | None, start: int, end: int) -> None:
        self._memory = memory
        self._address = 0 if memory is None else memory.__array_interface__["data"][0]
        self._start = self._next = start
        self._end = end

    @property
    def num_taken(self) -> int:
        return self._next - self._start

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """An array to be filled: in the slot if it has room, else in the process's own memory."""
        nbytes = math.prod(shape) * dtype.itemsize
        if self._memory is None or self._next + aligned(nbytes) > self._end:
            return own_memory(shape, dtype)
        found = self._memory[self._next : self._next + nbytes].view(dtype).reshape(shape)
        self._next += aligned(nbytes)
        return found

    def places_of(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """The offsets of those arrays that lie in the slot as a reader expects it."""
        if not self.num_taken:
            return {}
        found = {name: self._offset_of(array) for name, array in arrays.items()}
        return {name: offset for name, offset in found.items() if offset is not None}

    def _offset_of(self, array: np.ndarray) -> int | None:
        offset: int = array.__array_interface__["data"][0] - self._address
        is_inside = self._start <= offset and offset + array.nbytes <= self._next
        is_expected = offset % ALIGN == 0 and array.flags.c_contiguous
        return offset if is_inside and is_expected else None


class SlabWriter:
    """The producer's end of one slab, towards one incarnation of one consumer."""

    def __init__(self, client: MemoryClient, name: str, num_slots: int) -> None:
        self._client = client
        self._name = name
        self._memory: np.ndarray | None = None
        self._slot_nbytes = 0
        self._rooms: dict[int, Room] = {}
        self._last_written = [0] * num_slots  # the generation in which each slot was last written
        self._oldest = 1  # of the generations that the agent still has
        self.generation = 0

    def room(self, slot: int) -> Room:
        """The memory of a free slot, for arrays that the next `write` into it need not copy."""
        start = slot * self._slot_nbytes
        self._rooms[slot] = Room(self._memory, start, start + self._slot_nbytes)
        return self._rooms[slot]

    def write(self, slot: int, arrays: Mapping[str, np.ndarray]) -> list[int] | None:
        """Copy the arrays into a free slot, but for those that lie there already; their offsets, or
        None if there is no memory."""
        room = self._rooms.pop(slot, None)
        places = {} if room is None else room.places_of(arrays)
        taken = 0 if room is None else room.num_taken
        needed = taken + sum(aligned(a.nbytes) for name, a in arrays.items() if name not in places)
        if needed > self._slot_nbytes:
            # Never into the memory that some of them lie in: it would be read and written at once.
            if not self._grow(needed):
                return None
            places, taken = {}, 0
        offsets = self._copy(slot * self._slot_nbytes + taken, arrays, places)
        self._last_written[slot] = self.generation
        self._drop_old_generations()
        return offsets

    def _copy(
        self, offset: int, arrays: Mapping[str, np.ndarray], places: Mapping[str, int]
    ) -> list[int]:
        """Put the arrays that have no place yet one behind the other, from `offset` on."""
        offsets = []
        for name, array in arrays.items():
            at = places.get(name)
            if at is None:
                at, offset = offset, offset + aligned(array.nbytes)
                np.copyto(np.ndarray(array.shape, array.dtype, self._memory, at), array)
            offsets.append(at)
            if copies.COUNTING:
                copies.note("message", name, array.nbytes, 0 if name in places else array.nbytes)
        return offsets

    def _grow(self, needed: int) -> bool:
        slot_nbytes = aligned(needed + needed // 8)
        try:
            memory = self._client.create(
                slab_name(self._name, self.generation + 1), slot_nbytes * len(self._last_written)
            )
        except MemoryError:
            return False
        self.generation += 1
        self._memory, self._slot_nbytes = memory, slot_nbytes
        return True

    def _drop_old_generations(self) -> None:
        """A slot is written again only after its credit came back. So once every slot that was in
        use has been written in a newer generation, nobody will open the older ones any more."""
        in_use = min(generation for generation in self._last_written if generation)
        while self._oldest < in_use:
            self._client.drop(slab_name(self._name, self._oldest))
            self._oldest += 1


class SlabReader:
    """The consumer's side: slabs by name, opened once per generation, the old one dropped."""

    def __init__(self, client: MemoryClient) -> None:
        self._client = client
        self._open: dict[str, tuple[int, np.ndarray]] = {}

    def open(self, name: str, generation: int) -> np.ndarray:
        """Read-only bytes of a slab. Raises WireError if there is no such slab."""
        known = self._open.get(name)
        if known is not None and known[0] == generation:
            return known[1]
        try:
            memory = self._client.open(slab_name(name, generation))
        except (KeyError, MemoryError):
            raise WireError(f"slab {name} has no generation {generation}") from None
        memory.flags.writeable = False
        self._open[name] = (generation, memory)
        return memory

    def forget(self, prefix: str) -> None:
        for name in [name for name in self._open if name.startswith(prefix)]:
            del self._open[name]


def slab_name(name: str, generation: int) -> str:
    return f"{name}#{generation}"
