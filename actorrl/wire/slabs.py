"""Slabs: where the arrays of elements that are in flight within a host lie, in shared memory.

A *slab* belongs to one producer and one consumer of one link. It has as many slots as the link has
credit; a slot is free again when its credit comes back, and by nothing else. It is made anew, under
the next generation, when an element does not fit or when the consumer is a new incarnation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actorrl import copies
from actorrl.errors import WireError
from actorrl.wire.shared_memory import ALIGN, MemoryClient, aligned

# (shape, dtype) -> an array to be filled
Allocate = Callable[[tuple[int, ...], np.dtype[Any]], np.ndarray]


def own_memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Not shared: what is sent from there is copied."""
    return np.empty(shape, dtype)


class Room:
    """The memory of one slot while it is filled."""

    def __init__(self, memory: np.ndarray | None, address: int, start: int, end: int) -> None:
        self._memory = memory
        self._address = address
        self._start = self._next = start
        self._end = end
        self._taken: dict[int, tuple[np.ndarray, int]] = {}  # by id, with their offsets

    @property
    def num_taken(self) -> int:
        return self._next - self._start

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """An array to be filled: in the slot if it has room, else in the process's own memory."""
        nbytes = math.prod(shape) * dtype.itemsize
        if self._memory is None or self._next + aligned(nbytes) > self._end:
            return own_memory(shape, dtype)
        found: np.ndarray = np.ndarray(shape, dtype, self._memory, self._next)
        self._taken[id(found)] = found, self._next
        self._next += aligned(nbytes)
        return found

    def places_of(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """The offsets of those arrays that lie in the slot as a reader expects it."""
        if not self.num_taken:
            return {}
        found = {name: self._offset_of(array) for name, array in arrays.items()}
        return {name: offset for name, offset in found.items() if offset is not None}

    def _offset_of(self, array: np.ndarray) -> int | None:
        is_expected = array.flags.c_contiguous
        if is_expected and id(array) in self._taken:  # to ask NumPy for an address is dear
            return self._taken[id(array)][1]
        offset: int = array.__array_interface__["data"][0] - self._address
        is_inside = self._start <= offset and offset + array.nbytes <= self._next
        return offset if is_inside and is_expected and offset % ALIGN == 0 else None


class SlabWriter:
    """The producer's end of one slab, towards one incarnation of one consumer."""

    def __init__(self, client: MemoryClient, name: str, num_slots: int) -> None:
        self._client = client
        self._name = name
        self._memory: np.ndarray | None = None
        self._address = 0
        self._slot_nbytes = 0
        self._rooms: dict[int, Room] = {}
        self._last_written = [0] * num_slots  # the generation in which each slot was last written
        self._oldest = 1  # of the generations that the agent still has
        self.generation = 0

    def room(self, slot: int) -> Room:
        """The memory of a free slot, for arrays that the next `write` into it need not copy."""
        start = slot * self._slot_nbytes
        self._rooms[slot] = Room(self._memory, self._address, start, start + self._slot_nbytes)
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
                memory_name(self._name, self.generation + 1), slot_nbytes * len(self._last_written)
            )
        except MemoryError:
            return False
        self.generation += 1
        self._rooms.clear()  # in the memory before: what was filled in there has to be copied
        self._memory, self._slot_nbytes = memory, slot_nbytes
        self._address = memory.__array_interface__["data"][0]
        return True

    def _drop_old_generations(self) -> None:
        """A slot is written again only after its credit came back. So once every slot that was in
        use has been written in a newer generation, nobody will open the older ones any more."""
        in_use = min(generation for generation in self._last_written if generation)
        while self._oldest < in_use:
            self._client.drop(memory_name(self._name, self._oldest))
            self._oldest += 1


class SlabReader:
    """The consumer's side: slabs by producer and link, opened once per generation, the old one
    dropped."""

    def __init__(self, client: MemoryClient, consumer: str) -> None:
        self._client = client
        self._consumer = consumer
        self._open: dict[tuple[str, int, str], tuple[int, np.ndarray]] = {}

    def open(self, source: str, incarnation: int, link: str, generation: int) -> np.ndarray:
        """Read-only bytes of a slab. Raises WireError if there is no such slab."""
        key = (source, incarnation, link)
        known = self._open.get(key)
        if known is not None and known[0] == generation:
            return known[1]
        name = slab_name(f"{source}.{incarnation}", link, self._consumer)
        try:
            memory = self._client.open(memory_name(name, generation))
        except (KeyError, MemoryError):
            raise WireError(f"slab {name} has no generation {generation}") from None
        memory.flags.writeable = False
        self._open[key] = (generation, memory)
        return memory

    def forget(self, source: str) -> None:
        for key in [key for key in self._open if key[0] == source]:
            del self._open[key]


# ---- names -----------------------------------------------------------------------------------


def slab_name(producer: str, link: str, consumer: str) -> str:
    """Both ends are incarnations, such as `rollout/3.2`."""
    return f"{producer}/{link}/{consumer}"


def memory_name(slab: str, generation: int) -> str:
    return f"{slab}#{generation}"


def has_end(memory: str, incarnation: str) -> bool:
    """Whether the memory of that name is a slab from or to the incarnation."""
    return memory.startswith(f"{incarnation}/") or f"/{incarnation}#" in memory
