"""A door that the test opens and closes by hand: what was sent can be looked at, what arrives is
said, and who is up is set. No sockets, no time."""

from __future__ import annotations

import collections

from actorrl.runtime.launchers.inproc import InprocBlock
from actorrl.wire import values
from actorrl.wire.messages import Kind, Message
from actorrl.wire.slabs import Allocate, own_memory


class HandDoor:
    def __init__(self, name: str = "a/0", up: tuple[str, ...] = ()) -> None:
        self.name = name
        self.incarnation = 1
        self.drops: collections.Counter[str] = collections.Counter()
        self.on_peers = lambda changed: None
        self.up = dict.fromkeys(up, 1)  # peer -> incarnation
        self.full: set[str] = set()  # lines that take nothing now
        self.sent: list[tuple[str, Message]] = []
        self.answered: list[tuple[Message, Message]] = []
        self.arrived: collections.deque[Message] = collections.deque()
        self.blocks: dict[str, InprocBlock] = {}
        self.pending_peers: list[dict[str, int]] = []
        self.pages: dict[str, memoryview] = {}
        self.closed = False

    # ---- by the test --------------------------------------------------------------------

    def change(self, **incarnations: int) -> None:
        """Peers as `b_0=2` (or 0: down), in force when the owner looks."""
        table = dict(self.pending_peers[-1] if self.pending_peers else self.up)
        for name, incarnation in incarnations.items():
            table[name.replace("_", "/")] = incarnation
        self.pending_peers.append({name: number for name, number in table.items() if number})

    def say(self, kind: Kind, name: str, source: str, body=None, **fields) -> Message:
        incarnation = fields.pop("incarnation", self.up.get(source, 1))
        message = Message(kind, name, body, source=source, incarnation=incarnation, **fields)
        self.arrived.append(message)
        return message

    # ---- by the runtime -----------------------------------------------------------------

    def take_peers(self) -> None:
        while self.pending_peers:
            before, self.up = self.up, self.pending_peers.pop(0)
            both = before.keys() | self.up.keys()
            changed = sorted(n for n in both if before.get(n) != self.up.get(n))
            if changed:
                self.on_peers(changed)

    def knows(self, name: str) -> bool:
        return name.rstrip("!") in self.up

    def incarnation_of(self, name: str) -> int:
        return self.up.get(name, 0)

    def room(self, to: str, link: str, slot: int, num_slots: int) -> Allocate:
        return own_memory

    def ledger_pages(self, slot: str, nbytes: int) -> memoryview | None:
        return self.pages.setdefault(slot, memoryview(bytearray(nbytes)).cast("q"))

    def is_current(self, message: Message) -> bool:
        return self.up.get(message.source, message.incarnation) == message.incarnation

    def send(self, to: str, message: Message, num_slots: int = 0) -> bool:
        if not self.knows(to) or to in self.full:
            return False
        values.pack(message.body)
        message.source, message.incarnation = self.name, self.incarnation
        self.sent.append((to, message))
        return True

    def answer(self, to: Message, message: Message, num_slots: int = 0) -> bool:
        values.pack(message.body)
        self.answered.append((to, message))
        return self.knows(to.source)

    def receive(self, timeout_ms: int, answers_only: bool = False) -> list[Message]:
        self.take_peers()
        got = list(self.arrived)
        self.arrived.clear()
        return got

    def wake(self) -> None:
        pass

    def block_writer(self, link: str) -> InprocBlock:
        return self.blocks.setdefault(link, InprocBlock())

    block_reader = block_writer

    def close(self) -> None:
        self.closed = True
