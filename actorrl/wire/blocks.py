"""A block: the newest version of some arrays (weights), for all processes of a host.

Two buffers in one memfd that lives as long as the agent. The writer announces a buffer, fills it,
then publishes it; a reader copies, then checks that the writer has not come around to its buffer
meanwhile. A half-written version is never published, so it can never be read, whoever dies when.
The order of the stores is the order in the source: so it is on x86; elsewhere a torn read would be
possible in principle between two instructions of one store and the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from actorrl import failpoints
from actorrl.errors import WireError
from actorrl.wire.frames import array_nbytes
from actorrl.wire.shared_memory import MemoryClient, aligned

# int64 words at the block's start: number of the newest element, of the one being written, bytes
# of the layout (msgpack), bytes of one buffer, and version and epoch in each buffer
_PUBLISHED, _WRITING, _LAYOUT_NBYTES, _BUFFER_NBYTES, _VERSIONS, _EPOCHS = (*range(5), 6)
_HEADER_NBYTES = 64
_LAYOUT_LIMIT = 256 * 1024
_START = _HEADER_NBYTES + _LAYOUT_LIMIT

Entry = tuple[str, str, list[int]]  # name, dtype, shape
Take = Callable[[int, Mapping[str, np.ndarray]], None]  # version, arrays by name


class Stamp(NamedTuple):
    """Whose words the arrays are: within an epoch versions rise; a new epoch says that the writer
    went on from an older state than its predecessor's last. (0, 0): nothing was published."""

    version: int
    epoch: int


_layout_decoder = msgspec.msgpack.Decoder(list[Entry])


class BlockWriter:
    """The only writer of a block. Its predecessor may have died in the middle of a write."""

    def __init__(self, client: MemoryClient, name: str) -> None:
        self._client = client
        self._name = name
        self._words: np.ndarray | None = None
        self._entries: list[Entry] = []
        self._buffers: list[list[np.ndarray]] = []

    def newest(self) -> Stamp:
        """What readers see now."""
        if self._words is None:
            try:
                self._words = self._client.open(self._name)[:_HEADER_NBYTES].view(np.int64)
            except KeyError:
                return Stamp(0, 0)
        return _newest(self._words)[1]

    def publish(self, version: int, arrays: dict[str, np.ndarray], epoch: int = 0) -> None:
        """Make `arrays` the newest version. Raises WireError unless names, shapes and dtypes are
        the same every time."""
        entries = [(name, a.dtype.str, list(a.shape)) for name, a in arrays.items()]
        if not self._buffers:
            self._lay_out(entries, sum(aligned(array.nbytes) for array in arrays.values()))
        if entries != self._entries:
            raise WireError(f"{self._name}: names, shapes or dtypes differ from the last version's")
        words = self._words
        assert words is not None
        number = int(words[_PUBLISHED]) + 1
        words[_WRITING] = number
        words[_VERSIONS + number % 2] = version
        words[_EPOCHS + number % 2] = epoch
        for target, array in zip(self._buffers[number % 2], arrays.values(), strict=True):
            np.copyto(target, array)
            if failpoints.ACTIVE:
                failpoints.reach("weights.mid_publish")
        words[_PUBLISHED] = number

    def _lay_out(self, entries: list[Entry], buffer_nbytes: int) -> None:
        layout = msgspec.msgpack.encode(entries)
        if len(layout) > _LAYOUT_LIMIT:
            raise WireError(f"{len(entries)} arrays are too many for one block")
        memory = self._client.keep(self._name, _START + 2 * buffer_nbytes)
        words = memory[:_HEADER_NBYTES].view(np.int64)
        known = _layout(memory, words) if words[_PUBLISHED] else layout
        if known != layout or memory.nbytes != _START + 2 * buffer_nbytes:
            raise WireError(f"{self._name}: a predecessor published other arrays under that name")
        memory[_HEADER_NBYTES : _HEADER_NBYTES + len(layout)] = np.frombuffer(layout, np.uint8)
        words[_LAYOUT_NBYTES] = len(layout)
        words[_BUFFER_NBYTES] = buffer_nbytes
        self._words, self._entries = words, entries
        self._buffers = _views(memory, entries, buffer_nbytes)


class BlockReader:
    """Any process of the host; `version` costs the reading of a few integers."""

    def __init__(self, client: MemoryClient, name: str) -> None:
        self._client = client
        self._name = name
        self._words: np.ndarray | None = None
        self._names: list[str] = []
        self._buffers: list[list[np.ndarray]] = []

    @property
    def version(self) -> int:
        """The newest version, 0 while nothing was published."""
        return self.stamp.version

    @property
    def epoch(self) -> int:
        """That of the newest version, 0 while nothing was published."""
        return self.stamp.epoch

    @property
    def stamp(self) -> Stamp:
        if self._words is None and not self._open():
            return Stamp(0, 0)
        assert self._words is not None
        return _newest(self._words)[1]

    def _open(self) -> bool:
        try:
            memory = self._client.open(self._name)
        except KeyError:
            return False
        words = memory[:_HEADER_NBYTES].view(np.int64)
        if words[_PUBLISHED] == 0:
            return False
        buffer_nbytes = int(words[_BUFFER_NBYTES])
        if not 0 <= buffer_nbytes <= (memory.nbytes - _START) // 2:
            raise WireError(f"{self._name}: buffers of {buffer_nbytes} bytes do not fit")
        entries = decode_layout(_layout(memory, words), buffer_nbytes)
        self._names = [name for name, _, _ in entries]
        self._buffers = _views(memory, entries, buffer_nbytes)
        self._words = words
        return True

    def read(self) -> tuple[int, dict[str, np.ndarray]]:
        """The newest version and copies of its arrays. Raises WireError while `version` is 0."""
        stamp, arrays = self.read_stamped()
        return stamp.version, arrays

    def read_stamped(self) -> tuple[Stamp, dict[str, np.ndarray]]:
        """The same with the epoch."""
        copied: dict[str, np.ndarray] = {}

        def take(version: int, arrays: Mapping[str, np.ndarray]) -> None:
            copied.update({name: array.copy() for name, array in arrays.items()})

        return self.hand(take), copied

    def hand(self, take: Take) -> Stamp:
        """`take` copies what it needs of the newest version from the block itself, and is called
        again if the writer came around meanwhile: half of what it got may be newer then. Raises
        WireError while `version` is 0."""
        if self._words is None and not self._open():
            raise WireError(f"{self._name}: nothing was published yet")
        words = self._words
        assert words is not None
        while True:
            number, stamp = _newest(words)
            take(stamp.version, dict(zip(self._names, self._buffers[number % 2], strict=True)))
            if not _overwritten(words, number):
                return stamp
            time.sleep(0)


def decode_layout(layout: bytes | memoryview, buffer_nbytes: int) -> list[Entry]:
    """The arrays that a buffer of so many bytes holds. Raises WireError, and nothing else, for
    bytes that are no layout, and for arrays that do not fit."""
    try:
        entries = _layout_decoder.decode(layout)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise WireError(f"not a layout: {error}") from None
    needed = sum(aligned(array_nbytes(*entry)) for entry in entries)
    if needed > buffer_nbytes:
        raise WireError(f"arrays of {needed} bytes in a buffer of {buffer_nbytes}")
    return entries


def _newest(words: np.ndarray) -> tuple[int, Stamp]:
    """Number and stamp of what is published now."""
    while True:
        number = int(words[_PUBLISHED])
        if number == 0:
            return 0, Stamp(0, 0)
        stamp = Stamp(int(words[_VERSIONS + number % 2]), int(words[_EPOCHS + number % 2]))
        if not _overwritten(words, number):
            return number, stamp


def _overwritten(words: np.ndarray, number: int) -> bool:
    """The writer comes back to the same buffer with number + 2, and announces that first."""
    return int(words[_WRITING]) >= number + 2


def _layout(memory: np.ndarray, words: np.ndarray) -> bytes:
    return bytes(memory[_HEADER_NBYTES : _HEADER_NBYTES + int(words[_LAYOUT_NBYTES])])


def _views(memory: np.ndarray, entries: list[Entry], buffer_nbytes: int) -> list[list[np.ndarray]]:
    buffers = []
    for index in range(2):
        offset = _START + index * buffer_nbytes
        views = []
        for name, dtype, shape in entries:
            nbytes = array_nbytes(name, dtype, shape)
            views.append(memory[offset : offset + nbytes].view(dtype).reshape(shape))
            offset += aligned(nbytes)
        buffers.append(views)
    return buffers
