"""An endpoint's half within the host: sockets in the file system, and slabs for large elements."""

from __future__ import annotations

import collections
from typing import Any

import zmq

from actorrl import copies
from actorrl.errors import WireError
from actorrl.wire import frames, sockets
from actorrl.wire import parts as parts_of
from actorrl.wire.messages import Message, Peer
from actorrl.wire.peers import Peers
from actorrl.wire.shared_memory import MemoryClient
from actorrl.wire.slabs import Allocate, SlabReader, SlabWriter, own_memory, slab_name

SLAB_THRESHOLD_BYTES = 32 * 1024  # below this a frame is cheaper than a slab


class Inside:
    """See the module. One thread's."""

    def __init__(
        self,
        context: zmq.Context,
        name: str,
        incarnation: int,
        address: str,
        memory: MemoryClient | None,
        drops: collections.Counter[str],
        peers: Peers,
    ) -> None:
        self.inbox = sockets.router(context, address)
        self._context = context
        self._me = f"{name}.{incarnation}"
        self._memory = memory
        self._drops = drops
        self._peers = peers
        self._slabs_out: dict[tuple[str, str], SlabWriter] = {}
        self._slabs_in = SlabReader(memory, self._me) if memory is not None else None
        self._open_slab = self._slabs_in.open if self._slabs_in is not None else None

    def dial(self, line: str, peer: Peer) -> zmq.Socket:
        """A line to a peer of this host; `name!` is its control lane."""
        return sockets.dealer(self._context, peer.address + ("!" if line.endswith("!") else ""))

    def forget(self, name: str) -> None:
        """A peer's slabs go with its incarnation."""
        for key in [key for key in self._slabs_out if key[1] == name]:
            del self._slabs_out[key]
        if self._slabs_in is not None:
            self._slabs_in.forget(name)

    # ---- sending ------------------------------------------------------------------------

    def encode(self, to: str, message: Message, num_slots: int) -> list[Any]:
        """The frames of a message; what is large, and owns one of `num_slots`, is written into a
        slab."""
        if message.slot < 0 or not num_slots or self._memory is None:
            return self._encode_as_frames(message)
        frames.check_sendable(message.arrays)
        if sum(array.nbytes for array in message.arrays.values()) < SLAB_THRESHOLD_BYTES:
            return self._encode_as_frames(message)
        writer = self._slab(to, message.name, num_slots, self._memory)
        offsets = writer.write(message.slot, message.arrays)
        if offsets is None:
            self._drops["no memory for a slab: sent as frames"] += 1
            return self._encode_as_frames(message)
        return frames.encode(message, writer.generation, offsets)

    def answer(self, to: Message, message: Message, num_slots: int) -> None:
        """Raises ZMQError if its sender has gone, or does not read."""
        if num_slots and self._peers.incarnation_of(to.source) != to.incarnation:
            num_slots = 0  # the slab is its predecessor's, or its successor's
        parts_of.send(self.inbox, [to.route, *self.encode(to.source, message, num_slots)])

    def room(self, to: str, link: str, slot: int, num_slots: int) -> Allocate:
        """For the arrays of the next message in this slot, which is free: see SlabWriter.room."""
        if self._memory is None:
            return own_memory
        return self._slab(to, link, num_slots, self._memory).room(slot).take

    def _slab(self, to: str, link: str, num_slots: int, memory: MemoryClient) -> SlabWriter:
        writer = self._slabs_out.get((link, to))
        if writer is None:
            consumer = f"{to}.{self._peers.incarnation_of(to)}"
            slab = slab_name(self._me, link, consumer)
            writer = self._slabs_out[(link, to)] = SlabWriter(memory, slab, num_slots)
        return writer

    def _encode_as_frames(self, message: Message) -> list[Any]:
        if copies.COUNTING:
            copies.note_all("message", message.arrays)
        return frames.encode(message)

    # ---- receiving ----------------------------------------------------------------------

    def take_from_inbox(self, socket: zmq.Socket) -> Message | None:
        """The next message that waits there, unless it is malformed."""
        route = parts_of.receive_route(socket)
        message = self._decode(parts_of.receive(socket))
        if message is not None:
            message.route = route
        return message

    def take_from_line(self, socket: zmq.Socket) -> Message | None:
        return self._decode(parts_of.receive(socket))

    def _decode(self, parts: list[zmq.Frame]) -> Message | None:
        try:
            return frames.decode(parts, self._open_slab)
        except WireError:
            self._drops["malformed"] += 1
            return None
