"""The launcher without processes: all actors of a Program in one loop, on the caller's thread.

For debugging, tests and `num_workers=0`. The same mailboxes, links and credits; only the door is
another. A `call` runs its target inline, after what the target has been sent before; a cycle of
calls is an error that says so. What an actor raises goes straight to whoever let it run. Nothing
runs unless the driver waits for something or polls.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import numpy as np

from actorrl.errors import CallCycle
from actorrl.runtime.mailbox import Mailbox
from actorrl.runtime.program import Program
from actorrl.runtime.refs import CURRENT, DRIVER
from actorrl.runtime.traffic import ByRole, happened, summed
from actorrl.wire import values
from actorrl.wire.blocks import Stamp, Take
from actorrl.wire.frames import check_sendable
from actorrl.wire.messages import Kind, Message
from actorrl.wire.slabs import Allocate, own_memory

HOST = "local"


class InprocBlock:
    """The versioned block of a state link: writer and readers hold the same object."""

    def __init__(self) -> None:
        self.version = self.epoch = 0
        self._arrays: dict[str, np.ndarray] = {}

    def newest(self) -> Stamp:
        return Stamp(self.version, self.epoch)

    def publish(self, version: int, arrays: dict[str, np.ndarray], epoch: int = 0) -> None:
        self._arrays = {name: array.copy() for name, array in arrays.items()}
        self.version, self.epoch = version, epoch

    def read(self) -> tuple[int, dict[str, np.ndarray]]:
        return self.version, {name: array.copy() for name, array in self._arrays.items()}

    def hand(self, take: Take) -> Stamp:
        take(self.version, self._arrays)
        return self.newest()


class InprocDoor:
    """An endpoint without sockets: a message is put into the target's queue as it is."""

    def __init__(self, name: str, world: InprocWorld) -> None:
        self.name = name
        self.incarnation = 1
        self.drops: collections.Counter[str] = collections.Counter()
        self.on_peers: Callable[[list[str]], None] = lambda changed: None
        self.queue: collections.deque[Message] = collections.deque()
        self.answers: collections.deque[Message] = collections.deque()
        self._world = world

    def take_peers(self) -> None:
        pass

    def knows(self, name: str) -> bool:
        return name == DRIVER or name.rstrip("!") in self._world.mailboxes

    def incarnation_of(self, name: str) -> int:
        return int(self.knows(name))

    def ledger_pages(self, slot: str, nbytes: int) -> memoryview | None:
        return None  # one process: nobody outlives anybody

    def is_current(self, message: Message) -> bool:
        return True

    def send(self, to: str, message: Message, num_slots: int = 0) -> bool:
        if not self.knows(to):
            return False
        self._travel(message)
        if message.kind is Kind.CALL:
            self._world.run_inline(to, message)
        else:
            self._world.door(to).queue.append(message)
        return True

    def answer(self, to: Message, message: Message, num_slots: int = 0) -> bool:
        self._travel(message)
        door = self._world.door(to.source)
        is_call = message.kind in (Kind.REPLY, Kind.FAILURE)
        (door.answers if is_call else door.queue).append(message)
        return True

    def room(self, to: str, link: str, slot: int, num_slots: int) -> Allocate:
        return own_memory  # what is sent from there arrives as it is

    def _travel(self, message: Message) -> None:
        """Refuse, and change, what a wire would."""
        message.source, message.incarnation = self.name, self.incarnation
        check_sendable(message.arrays)
        message.arrays = {name: _read_only(array) for name, array in message.arrays.items()}
        payload, arrays = values.pack(message.body)
        check_sendable({f"value {index}": array for index, array in enumerate(arrays)})
        message.body = values.unpack(payload, [array.copy() for array in arrays])

    def receive(self, timeout_ms: int, answers_only: bool = False) -> list[Message]:
        if answers_only and not self.answers:
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

    def close(self) -> None:
        pass


class DriverDoor(InprocDoor):
    """The driver's; when it looks for what has come, every actor has a turn."""

    def receive(self, timeout_ms: int, answers_only: bool = False) -> list[Message]:
        if not answers_only:
            self._world.turn()
        return super().receive(timeout_ms, answers_only)


class InprocWorld:
    """All actors of a Program on one thread."""

    def __init__(self, program: Program) -> None:
        self.mailboxes: dict[str, Mailbox] = {}
        self.blocks: dict[str, InprocBlock] = {}
        self.driver_door = DriverDoor(DRIVER, self)
        self.on_event: Callable[[str, str, dict[str, Any]], None] = lambda *event: None
        self._program = program
        self._doors: dict[str, InprocDoor] = {DRIVER: self.driver_door}
        self._running: list[str] = []
        self._started: list[str] = []

    def start(self) -> None:
        """Build every actor from the same bytes that a process would get, then start them all."""
        for name in self._program.nodes:
            door = self._doors[name] = InprocDoor(name, self)
            self.mailboxes[name] = Mailbox(
                name, 1, HOST, door, self._program.links, inline=True, gpus=[]
            )
            self.mailboxes[name].on_event = functools.partial(self._tell_event, name)
        for name in self._program.nodes:
            self._start(name)

    def _tell_event(self, name: str, event: str, details: dict[str, Any]) -> None:
        self.on_event(name, event, details)

    def _start(self, name: str) -> None:
        """Unless it was started by a call of one that was started earlier."""
        if self.mailboxes[name].actor is not None:
            return
        node = self._program.nodes[name]
        blob = cloudpickle.dumps((node.cls, node.args, node.kwargs))
        cls, args, kwargs = cloudpickle.loads(blob)
        with self._running_as(name):
            self.mailboxes[name].adopt(cls(*args, **kwargs))
        self._started.append(name)

    def door(self, name: str) -> InprocDoor:
        return self._doors[name.rstrip("!")]

    def drops(self) -> ByRole:
        """By role and reason, see `Cluster.drops`."""
        return happened(summed((name, door.drops) for name, door in self._doors.items()))

    def run_inline(self, to: str, message: Message) -> None:
        name = to.rstrip("!")
        mailbox = self.mailboxes[name]
        if to.endswith("!") and name in self._started:
            mailbox.run_method(message, "control")
            return
        if name in self._running:
            chain = " -> ".join([*self._running, name])
            raise CallCycle(
                f"{name}.{message.name}() was called while {name} waits: {chain};"
                " use tell, or a link",
                executed="no",
            )
        self._start(name)
        with self._running_as(name):
            mailbox.handle_arrived()  # first what was sent first
            mailbox.run_method(message, "control" if to.endswith("!") else "main")

    def turn(self) -> bool:
        """One round of every actor that is not in the middle of something."""
        done = False
        for name, mailbox in list(self.mailboxes.items()):
            if name in self._started and name not in self._running:
                with self._running_as(name):
                    done |= mailbox.turn(0)
        if not done:
            time.sleep(0.001)  # only timers and other threads can change anything now
        return done

    def stop(self) -> None:
        """Every actor that was started gets its `on_stop`; the first error is raised at the end."""
        errors: list[Exception] = []
        for name, mailbox in self.mailboxes.items():
            actor = mailbox.actor
            if actor is None or name not in self._started:
                continue
            with self._running_as(name):
                try:
                    actor.on_stop()
                except Exception as error:
                    errors.append(error)
        self._started.clear()
        self.mailboxes.clear()
        if errors:
            raise errors[0]

    @contextlib.contextmanager
    def _running_as(self, name: str) -> Iterator[None]:
        token = CURRENT.set(self.mailboxes[name].caller)
        self._running.append(name)
        try:
            yield
        finally:
            self._running.pop()
            CURRENT.reset(token)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
