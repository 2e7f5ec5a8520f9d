"""What faults have lost, counted by ledgers, agrees with who saw everything."""

from __future__ import annotations

import collections
import random

import pytest

from actorrl.runtime.ledger import Ledger, Loss
from actorrl.runtime.program import Link, State, Stream

CREDIT = 3


class World:
    """Processes that end and come back, elements on their way, and tables that arrive late.

    It knows of each element where it is, and so what a fault has really lost; the ledgers must say
    the same in the end.
    """

    def __init__(self, seed: int, num_sources: int, num_targets: int) -> None:
        self.random = random.Random(seed)
        self.sources = [f"s/{i}" for i in range(num_sources)]
        self.targets = [f"t/{i}" for i in range(num_targets)]
        self.links = {
            "data": Link("data", Stream(CREDIT), tuple(self.sources), tuple(self.targets)),
            "weights": Link("weights", State(), ("t/0",), tuple(self.sources)),
        }
        self.pages: dict[str, memoryview] = {}
        self.table = dict.fromkeys(self.sources + self.targets, 0)  # the driver's: 0 is down
        self.started = collections.Counter[str]()
        self.alive: dict[str, Process] = {}
        self.losses: list[Loss] = []
        self.lost = 0  # really
        self.lost_rows = 0

    def open_pages(self, slot: str, nbytes: int) -> memoryview:
        return self.pages.setdefault(slot, memoryview(bytearray(nbytes)).cast("q"))

    def start(self, name: str) -> None:
        self.started[name] += 1
        self.table[name] = self.started[name]
        self.alive[name] = Process(self, name, self.started[name])

    def kill(self, name: str) -> None:
        """Its page stays. What nobody will take, or was not done with, is lost."""
        process = self.alive.pop(name)
        self.table[name] = 0
        if name in self.targets:
            for element in process.inbox + process.held:
                self.lose(element)

    def lose(self, element: Element) -> None:
        self.lost += 1
        self.lost_rows += element.rows


class Element:
    def __init__(self, source: str, incarnation: int, slot: int, number: int, rows: int) -> None:
        self.source, self.incarnation = source, incarnation
        self.slot, self.number, self.rows = slot, number, rows


class Process:
    """As the mailbox does it: looks at its table when it likes, sends, takes, is done."""

    def __init__(self, world: World, name: str, incarnation: int) -> None:
        self.world, self.name, self.incarnation = world, name, incarnation
        self.ledger = Ledger(name, incarnation, world.links, world.open_pages)
        self.known: dict[str, int] = {}
        self.inbox: list[Element] = []
        self.held: list[Element] = []
        self.free: dict[str, list[int]] = {}
        self.number = 0
        self.look()

    @property
    def peers(self) -> list[str]:
        is_source = self.name in self.world.sources
        return self.world.targets if is_source else self.world.sources

    def look(self) -> None:
        for peer in self.peers:
            now = self.world.table[peer]
            if now == self.known.get(peer):
                continue
            self.known[peer] = now
            if self.name in self.world.sources:
                loss = self.ledger.meet_target("data", peer, now)
                self.world.losses += [loss] if loss else []
                self.free[peer] = list(range(CREDIT))
            else:
                self.world.losses += self.ledger.meet_source(peer, now)
                old = [e for e in self.inbox if e.source == peer and e.incarnation < now]
                for element in old:  # refused from now on
                    self.inbox.remove(element)
                    self.world.lose(element)

    def send(self) -> None:
        peer = self.world.random.choice(self.peers)
        if not self.known[peer] or not self.free[peer]:
            return
        slot, self.number = self.free[peer].pop(), self.number + 1
        rows = self.world.random.randint(1, 100)
        element = Element(self.name, self.incarnation, slot, self.number, rows)
        self.ledger.sent("data", peer, slot, self.number, rows)
        target = self.world.alive.get(peer)
        if target is not None and target.incarnation == self.known[peer]:
            target.inbox.append(element)
        else:  # into the air: its table is old
            self.world.lose(element)

    def take(self) -> None:
        if self.inbox:
            element = self.inbox.pop(0)
            self.ledger.taken(
                "data", element.source, element.incarnation, element.slot, element.number
            )
            self.held.append(element)

    def finish(self) -> None:
        if not self.held:
            return
        element = self.held.pop(self.world.random.randrange(len(self.held)))
        self.ledger.done("data", element.source, element.incarnation, element.slot, element.number)
        source = self.world.alive.get(element.source)
        same = source is not None and source.incarnation == element.incarnation
        if same and source.known[self.name] == self.incarnation:
            source.free[self.name].append(element.slot)


def run(seed: int, *, both_sides: bool) -> World:
    rng = random.Random(seed)
    world = World(seed, rng.randint(1, 3), rng.randint(1, 2))
    names = world.sources + world.targets
    for name in rng.sample(names, len(names)):
        world.start(name)
    for _ in range(rng.randint(10, 150)):
        name = rng.choice(names)
        process = world.alive.get(name)
        match rng.choice(["send"] * 5 + ["take"] * 4 + ["finish"] * 3 + ["look", "look", "fault"]):
            case "fault" if process is None:
                world.start(name)
            case "fault":
                others_down = [n for n in names if n not in world.alive]
                if both_sides or not others_down:
                    world.kill(name)
            case "send" if process is not None and name in world.sources:
                process.send()
            case "take" if process is not None and name in world.targets:
                process.take()
            case "finish" if process is not None and name in world.targets:
                process.finish()
            case "look" if process is not None:
                process.look()
    settle(world, names)
    return world


def settle(world: World, names: list[str]) -> None:
    """Everybody is up in the end and has looked, twice: what can be known is known."""
    for name in names:
        if name not in world.alive:
            world.start(name)
    for _ in range(2):
        for process in world.alive.values():
            process.look()


@pytest.mark.parametrize("chunk", range(4))
def test_whoever_dies_when_the_ledgers_count_what_was_lost(chunk):
    for seed in range(chunk * 500, (chunk + 1) * 500):
        world = run(seed, both_sides=True)
        counted = sum(loss.elements for loss in world.losses)
        rows = sum(loss.rows for loss in world.losses)
        assert (counted, rows) == (world.lost, world.lost_rows), f"seed {seed}"
        assert all(loss.exact for loss in world.losses), f"seed {seed}"


def test_without_shared_memory_all_that_was_in_flight_counts_and_it_says_so():
    links = {"data": Link("data", Stream(2), ("s/0",), ("t/0",))}
    ledger = Ledger("s/0", 1, links, lambda slot, nbytes: None)
    assert ledger.meet_target("data", "t/0", 1) is None
    ledger.sent("data", "t/0", 0, 1, 50)
    ledger.sent("data", "t/0", 1, 2, 40)
    loss = ledger.meet_target("data", "t/0", 0)
    assert loss == Loss("data", "s/0", "t/0", 2, 90, exact=False)
    assert ledger.meet_source("t/0", 2) == []
    assert ledger.notes_of_predecessor(2) is None


def test_an_element_that_the_line_did_not_take_is_not_lost():
    links = {"data": Link("data", Stream(2), ("s/0",), ("t/0",))}
    ledger = Ledger("s/0", 1, links, lambda slot, nbytes: None)
    ledger.meet_target("data", "t/0", 1)
    ledger.sent("data", "t/0", 0, 1, 50)
    ledger.unsent("data", "t/0", 0)
    assert ledger.meet_target("data", "t/0", 2) is None


def test_a_successor_finds_what_was_noted_last():
    pages: dict[str, memoryview] = {}

    def open_pages(slot, nbytes):
        return pages.setdefault(slot, memoryview(bytearray(nbytes)).cast("q"))

    for incarnation in range(1, 12):
        ledger = Ledger("s/0", incarnation, {}, open_pages)
        before = ledger.notes_of_predecessor(2)
        assert before == (None if incarnation == 1 else [incarnation - 1, -7])
        ledger.note([0, 0])
        ledger.note([incarnation, -7])
