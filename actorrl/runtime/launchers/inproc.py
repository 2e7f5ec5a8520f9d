"""The launcher without processes: all actors of a Program in one loop, on the caller's thread.

For debugging, tests and `num_workers=0`. The same mailboxes, links and credits; only the door is
another. A `call` runs its target inline; a cycle of calls is an error that says so. Nothing runs
unless the driver waits for something or calls `turn`.
"""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Iterator

import cloudpickle
import numpy as np

from actorrl.errors import CallCycle
from actorrl.runtime.mailbox import Mailbox
from actorrl.runtime.program import Program
from actorrl.runtime.refs import CURRENT, DRIVER
from actorrl.wire import values
from actorrl.wire.messages import Kind, Message

HOST = "local"


class InprocBlock:
    """The versioned block of a state link: writer and readers hold the same object."""

    def __init__(self) -> None:
        self.version = 0
        self._arrays: dict[str, np.ndarray] = {}

    def newest_version(self) -> int:
        return self.version

    def publish(self, version: int, arrays: dict[str, np.ndarray]) -> None:
        self._arrays = {name: array.copy() for name, array in arrays.items()}
        self.version = version

    def read(self) -> tuple[int, dict[str, np.ndarray]]:
        return self.version, {name: array.copy() for name, array in self._arrays.items()}


class InprocDoor:
    """An endpoint without sockets: a message is put into the target's queue as it is."""

    def __init__(self, name: str, world: InprocWorld) -> None:
        self.name = name
        self.incarnation = 1
        self.drops: collections.Counter[str] = collections.Counter()
        self.on_peers = lambda changed: None
        self.queue: collections.deque[Message] = collections.deque()
        self.answers: collections.deque[Message] = collections.deque()
        self._world = world

    def knows(self, name: str) -> bool:
        return name == DRIVER or name.rstrip("!") in self._world.mailboxes

    def send(self, to: str, message: Message, num_slots: int = 0) -> bool:
        message.source, message.incarnation = self.name, self.incarnation
        if message.kind in (Kind.CALL, Kind.TELL):
            message.body = values.unpack(*values.pack(message.body))  # as if it had travelled
            self._world.run_inline(to, message)
        else:
            self._world.door(to).queue.append(message)
        return True

    def answer(self, to: Message, message: Message, num_slots: int = 0) -> bool:
        message.source, message.incarnation = self.name, self.incarnation
        door = self._world.door(to.source)
        if message.kind in (Kind.REPLY, Kind.FAILURE):
            message.body = values.unpack(*values.pack(message.body))
            door.answers.append(message)
        else:
            door.queue.append(message)
        return True

    def receive(self, timeout_ms: int, answers_only: bool = False) -> list[Message]:
        if answers_only and timeout_ms and not self.answers:
            self._world.turn()  # somebody waits for a call that is answered later
        taken = list(self.answers)
        self.answers.clear()
        if not answers_only:
            taken += self.queue
            self.queue.clear()
        return taken

    def wake(self) -> None:
        pass

    def block_writer(self, link: str) -> InprocBlock:
        return self._world.blocks.setdefault(link, InprocBlock())

    block_reader = block_writer


class InprocWorld:
    """All actors of a Program on one thread."""

    def __init__(self, program: Program) -> None:
        self.mailboxes: dict[str, Mailbox] = {}
        self.blocks: dict[str, InprocBlock] = {}
        self.driver_door = InprocDoor(DRIVER, self)
        self._program = program
        self._running: list[str] = []

    def start(self) -> None:
        """Build every actor from the same bytes that a process would get, then start them all."""
        for name in self._program.nodes:
            door = InprocDoor(name, self)
            self.mailboxes[name] = Mailbox(
                name, 1, HOST, door, self._program.links, inline=True, gpus=[]
            )
        for name, node in self._program.nodes.items():
            blob = cloudpickle.dumps((node.cls, node.args, node.kwargs))
            cls, args, kwargs = cloudpickle.loads(blob)
            with self._running_as(name):
                self.mailboxes[name].adopt(cls(*args, **kwargs))

    def door(self, name: str) -> InprocDoor:
        return self.driver_door if name == DRIVER else self.mailboxes[name.rstrip("!")].door

    def run_inline(self, to: str, message: Message) -> None:
        name = to.rstrip("!")
        mailbox = self.mailboxes[name]
        if to.endswith("!"):
            mailbox.run_method(message, "control")
            return
        if name in self._running:
            chain = " -> ".join([*self._running, name])
            raise CallCycle(
                f"{name}.{message.name}() was called while {name} waits: {chain};"
                " use tell, or a link",
                executed="no",
            )
        with self._running_as(name):
            mailbox.run_method(message, "main")

    def turn(self) -> bool:
        """One round of every actor that is not in the middle of something."""
        done = False
        for name, mailbox in self.mailboxes.items():
            if name not in self._running:
                with self._running_as(name):
                    done |= mailbox.turn(0)
        if not done:
            time.sleep(0.001)  # only timers and other threads can change anything now
        return done

    def stop(self) -> None:
        for name, mailbox in self.mailboxes.items():
            actor = mailbox.actor
            if actor is not None:
                with self._running_as(name):
                    actor.on_stop()
        self.mailboxes.clear()

    @contextlib.contextmanager
    def _running_as(self, name: str) -> Iterator[None]:
        token = CURRENT.set(self.mailboxes[name].caller)
        self._running.append(name)
        try:
            yield
        finally:
            self._running.pop()
            CURRENT.reset(token)



