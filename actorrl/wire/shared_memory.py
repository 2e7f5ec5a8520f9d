"""Memory that processes of one host share: slabs for what is sent, blocks for what is newest.

All of it is memfds: nameless, so that nothing can be left behind, whoever is killed. One process of
the host, the agent, creates them and hands their descriptors over a Unix socket (`MemoryServer`);
the others ask by a name that means nothing outside (`MemoryClient`).

A *slab* belongs to one producer and one consumer of one link. It has as many slots as the link
has credit; a slot is free again when its credit comes back, and by nothing else. It is made anew, under
the next generation, when an element does not fit or when the consumer is a new incarnation.

A *block* holds the newest version of some arrays (weights) in two buffers and lives as long as the
agent. A reader copies, then checks that the writer has not come around to its buffer meanwhile; a
half-written version is never published, so it can never be read.
"""

from __future__ import annotations

import mmap
import os
import socket
import time

import msgspec
import numpy as np

from actorrl.errors import WireError

_ALIGN = 64
_REQUEST_LIMIT = 4096
_TIMEOUT_S = 10.0


def _aligned(nbytes: int) -> int:
    return (nbytes + _ALIGN - 1) // _ALIGN * _ALIGN


class _Ask(msgspec.Struct, array_like=True):
    verb: str  # "create" | "open" | "keep" (create unless it exists)
    name: str
    nbytes: int


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

    def accept(self) -> socket.socket | None:
        """A new client's connection, to be polled and handed to `serve`."""
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
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
        except (OSError, msgspec.MsgspecError):
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
        if fd is not None:
            os.close(fd)
        fd = os.memfd_create("actorrl", os.MFD_CLOEXEC)
        try:
            os.truncate(fd, ask.nbytes)
        except OSError:
            os.close(fd)
            raise
        self._memory[ask.name] = fd
        return fd

    def forget(self, prefix: str) -> None:
        """Give back the memory of an incarnation that has ended."""
        for name in [name for name in self._memory if name.startswith(prefix)]:
            os.close(self._memory.pop(name))

    @property
    def num_held(self) -> int:
        return len(self._memory)

    def close(self) -> None:
        self.forget("")
        for connection in self._connections.values():
            connection.close()
        self._listener.close()


class MemoryClient:
    """An actor's side; used from its main thread only."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket: socket.socket | None = None

    def create(self, name: str, nbytes: int) -> np.ndarray:
        return self._ask("create", name, nbytes)

    def keep(self, name: str, nbytes: int) -> np.ndarray:
        """The memory of that name, made now unless it exists (then its own size counts)."""
        return self._ask("keep", name, nbytes)

    def open(self, name: str) -> np.ndarray:
        return self._ask("open", name, 0)

    def _ask(self, verb: str, name: str, nbytes: int) -> np.ndarray:
        """Writable bytes of the memory. Raises KeyError if there is none of that name, MemoryError
        if the host has no room for it, WireError if the agent does not answer."""
        try:
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                self._socket.settimeout(_TIMEOUT_S)
                self._socket.connect(self._address)
            self._socket.send(msgspec.msgpack.encode(_Ask(verb, name, nbytes)))
            answer, fds, _, _ = socket.recv_fds(self._socket, _REQUEST_LIMIT, 1)
        except OSError as error:
            raise WireError(f"the agent does not hand out shared memory: {error}") from error
        if answer == b"?":
            raise KeyError(name)
        if answer != b"=" or not fds:
            raise MemoryError(f"{nbytes} bytes of shared memory: {answer[1:].decode()}")
        try:
            return np.frombuffer(mmap.mmap(fds[0], 0), dtype=np.uint8)
        finally:
            os.close(fds[0])

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


class SlabWriter:
    """The producer's end of one slab, towards one incarnation of one consumer."""

    def __init__(self, client: MemoryClient, name: str, num_slots: int) -> None:
        self._client = client
        self._name = name
        self._num_slots = num_slots
        self._memory: np.ndarray | None = None
        self._slot_nbytes = 0
        self.generation = 0

    def write(self, slot: int, arrays: list[np.ndarray]) -> list[int] | None:
        """Copy the arrays into a free slot; their offsets, or None if there is no memory for them."""
        needed = sum(_aligned(array.nbytes) for array in arrays)
        if needed > self._slot_nbytes and not self._grow(needed):
            return None
        assert self._memory is not None
        offsets = []
        offset = slot * self._slot_nbytes
        for array in arrays:
            target = self._memory[offset : offset + array.nbytes]
            np.copyto(target.view(array.dtype).reshape(array.shape), array)
            offsets.append(offset)
            offset += _aligned(array.nbytes)
        return offsets

    def _grow(self, needed: int) -> bool:
        slot_nbytes = _aligned(needed + needed // 8)
        try:
            memory = self._client.create(
                slab_name(self._name, self.generation + 1), slot_nbytes * self._num_slots
            )
        except MemoryError:
            return False
        self.generation += 1
        self._memory, self._slot_nbytes = memory, slot_nbytes
        return True


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
        except KeyError:
            raise WireError(f"slab {name} has no generation {generation}") from None
        memory.flags.writeable = False
        self._open[name] = (generation, memory)
        return memory

    def forget(self, prefix: str) -> None:
        for name in [name for name in self._open if name.startswith(prefix)]:
            del self._open[name]


def slab_name(name: str, generation: int) -> str:
    return f"{name}#{generation}"


# ---- versioned blocks -----------------------------------------------------------------------

# int64 words at the block's start: elements published, element being written, version,
# bytes of the layout (msgpack), bytes of one buffer
_PUBLISHED, _WRITING, _VERSION, _LAYOUT_NBYTES, _BUFFER_NBYTES = range(5)
_HEADER_NBYTES = 64
_LAYOUT_LIMIT = 256 * 1024


class BlockWriter:
    """The only writer of a block. Its predecessor may have died in the middle of a write."""

    def __init__(self, client: MemoryClient, name: str) -> None:
        self._client = client
        self._name = name
        self._words: np.ndarray | None = None
        self._buffers: list[list[np.ndarray]] = []

    def newest_version(self) -> int:
        """The version that readers see now; 0 before the first."""
        if self._words is None:
            try:
                self._words = self._client.open(self._name)[:_HEADER_NBYTES].view(np.int64)
            except KeyError:
                return 0
        return int(self._words[_VERSION])

    def publish(self, version: int, arrays: dict[str, np.ndarray]) -> None:
        """Make `arrays` the newest version. Names, shapes and dtypes are the same every time."""
        if not self._buffers:
            self._lay_out(arrays)
        words = self._words
        assert words is not None
        number = int(words[_PUBLISHED]) + 1
        words[_WRITING] = number
        for target, array in zip(self._buffers[number % 2], arrays.values(), strict=True):
            np.copyto(target, array)
        words[_VERSION] = version
        words[_PUBLISHED] = number

    def _lay_out(self, arrays: dict[str, np.ndarray]) -> None:
        layout = msgspec.msgpack.encode(
            [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
        )
        if len(layout) > _LAYOUT_LIMIT:
            raise WireError(f"{len(arrays)} arrays are too many for one block")
        buffer_nbytes = sum(_aligned(array.nbytes) for array in arrays.values())
        start = _HEADER_NBYTES + _LAYOUT_LIMIT
        memory = self._client.keep(self._name, start + 2 * buffer_nbytes)
        if memory.nbytes != start + 2 * buffer_nbytes:
            raise WireError(f"block {self._name} exists with another size")
        memory[_HEADER_NBYTES : _HEADER_NBYTES + len(layout)] = np.frombuffer(layout, np.uint8)
        self._words = memory[:_HEADER_NBYTES].view(np.int64)
        self._words[_LAYOUT_NBYTES] = len(layout)
        self._words[_BUFFER_NBYTES] = buffer_nbytes
        entries = [(name, a.dtype.str, a.shape) for name, a in arrays.items()]
        self._buffers = _views(memory, entries, buffer_nbytes)


class BlockReader:
    """Any process of the host; `version` costs one read of an integer."""

    def __init__(self, client: MemoryClient, name: str) -> None:
        self._client = client
        self._name = name
        self._words: np.ndarray | None = None
        self._names: list[str] = []
        self._buffers: list[list[np.ndarray]] = []

    @property
    def version(self) -> int:
        """The newest version, 0 while nothing was published."""
        if self._words is None and not self._open():
            return 0
        assert self._words is not None
        return int(self._words[_VERSION]) if self._words[_PUBLISHED] else 0

    def _open(self) -> bool:
        try:
            memory = self._client.open(self._name)
        except KeyError:
            return False
        words = memory[:_HEADER_NBYTES].view(np.int64)
        if words[_PUBLISHED] == 0:
            return False
        layout = bytes(memory[_HEADER_NBYTES : _HEADER_NBYTES + int(words[_LAYOUT_NBYTES])])
        entries = msgspec.msgpack.decode(layout, type=list[tuple[str, str, list[int]]])
        self._names = [name for name, _, _ in entries]
        self._buffers = _views(memory, entries, int(words[_BUFFER_NBYTES]))
        self._words = words
        return True

    def read(self) -> tuple[int, dict[str, np.ndarray]]:
        """The newest version and copies of its arrays. Call only once `version` is above 0."""
        assert self._words is not None
        words = self._words
        while True:
            number = int(words[_PUBLISHED])
            version = int(words[_VERSION])
            arrays = [array.copy() for array in self._buffers[number % 2]]
            # The writer comes back to this buffer with number + 2, and announces that first. A
            # version read beside a newer number belongs to neither: then read again as well.
            if int(words[_WRITING]) < number + 2 and int(words[_PUBLISHED]) == number:
                return version, dict(zip(self._names, arrays, strict=True))
            time.sleep(0)


def _views(
    memory: np.ndarray, entries: list[tuple[str, str, list[int]]], buffer_nbytes: int
) -> list[list[np.ndarray]]:
    buffers = []
    for index in range(2):
        offset = _HEADER_NBYTES + _LAYOUT_LIMIT + index * buffer_nbytes
        views = []
        for _, dtype_text, shape in entries:
            dtype = np.dtype(dtype_text)
            nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            views.append(memory[offset : offset + nbytes].view(dtype).reshape(shape))
            offset += _aligned(nbytes)
        buffers.append(views)
    return buffers

