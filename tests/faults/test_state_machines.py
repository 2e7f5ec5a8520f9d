"""The pure parts under thousands of seeds: a clock and a network of the test's own, no process.

The ledgers have the like in tests/runtime/test_ledger.py.
"""

from __future__ import annotations

import heapq
import itertools
import random
from typing import Any

import pytest

from actorrl.replay.limiter import SamplesPerInsert
from actorrl.runtime.credit_links import StreamOut
from actorrl.runtime.program import Link, Restart, Stream
from actorrl.runtime.slots import Policy, SlotState
from actorrl.runtime.supervisor import Fail, Kill, Start, Supervisor
from actorrl.wire.messages import Kind, Message
from tests.runtime.doors import HandDoor

CHUNKS = [range(start, start + 500) for start in range(0, 2000, 500)]
TICK_S = 0.05

chunks = pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"seeds {seeds[0]}..")


# ---- the supervisor -----------------------------------------------------------------------------


class Processes:
    """What obeys the supervisor: processes that take time to start, crash, and are told of late."""

    def __init__(self, seed: int, *, crashes: bool, stalls: bool) -> None:
        self.random = random.Random(seed)
        self.policy = Policy()
        names = [f"a/{i}" for i in range(self.random.randint(1, 4))]
        self.supervisor = Supervisor(dict.fromkeys(names, Restart.PERMANENT), self.policy)
        for name in names:
            self.supervisor.placed(name, "here")
        self.crash_rate = self.random.choice([0.001, 0.01, 0.05]) if crashes else 0.0
        self.stalls = stalls
        self.now = 0.0
        self.alive: dict[str, int] = {}  # slot -> incarnation of its process
        self.events: list[tuple[float, int, str, tuple[Any, ...]]] = []
        self.order = itertools.count()
        self.starts: dict[str, list[float]] = {name: [] for name in names}
        self.kills = 0
        self.failed: Fail | None = None

    def later(self, delay: float, event: str, *arguments: Any) -> None:
        """Events of one process stay in their order."""
        at = max([self.now + delay, *(e[0] for e in self.events if e[3][0] == arguments[0])])
        heapq.heappush(self.events, (at, next(self.order), event, arguments))

    def run(self, seconds: float) -> None:
        while self.now < seconds and self.failed is None:
            self.now += TICK_S
            if self.stalls and self.random.random() < 0.002:
                self.now += self.random.uniform(0, 400)  # the driver stood still
            while self.events and self.events[0][0] <= self.now:
                _, _, event, arguments = heapq.heappop(self.events)
                self.obey(getattr(self.supervisor, event)(*arguments, *self.moment(event)))
            self.obey(self.supervisor.tick(self.now))
            for name in [n for n in self.alive if self.random.random() < self.crash_rate]:
                self.end(name)

    def moment(self, event: str) -> tuple[float, ...]:
        return () if event == "hello" else (self.now,)

    def obey(self, commands: list[Any]) -> None:
        for command in commands:
            match command:
                case Start(name, incarnation):
                    self.start(name, incarnation)
                case Kill(name, incarnation):
                    self.kills += 1
                    if self.alive.get(name) == incarnation:
                        self.end(name)
                case Fail():
                    assert self.failed is None, "one root cause"
                    self.failed = command

    def start(self, name: str, incarnation: int) -> None:
        assert self.failed is None, "nobody is started once the run is over"
        assert name not in self.alive, "two processes of one slot"
        assert incarnation == len(self.starts[name]) + 1
        self.alive[name] = incarnation
        self.starts[name].append(self.now)
        took = self.random.uniform(0.05, 3.0)
        self.later(took / 2, "hello", name, incarnation, 100, f"ipc://{name}")
        self.later(took, "ready", name, incarnation)

    def end(self, name: str) -> None:
        incarnation = self.alive.pop(name)
        delay = self.random.uniform(0.0, 0.5)
        self.later(delay, "exited", name, incarnation, -9, f"cause {next(self.order)}", False)


@chunks
def test_whoever_crashes_when_each_slot_has_one_process_and_a_bounded_number_of_restarts(seeds):
    ended = 0
    for seed in seeds:
        world = Processes(seed, crashes=True, stalls=False)
        world.run(60.0)
        policy = world.policy
        for name, starts in world.starts.items():
            recent = [t for t in starts[1:] if t > world.now - policy.window_s]
            assert len(recent) <= policy.max_restarts, (seed, name)
            slot = world.supervisor.slots[name]
            assert slot.restarts >= len(starts) - 1
        if world.failed is not None:
            ended += 1
            continue
        world.crash_rate = 0.0
        world.run(world.now + policy.backoff_limit_s + 10.0)
        assert world.supervisor.all_ready, f"seed {seed}: somebody did not come back"
        assert len(world.alive) == len(world.starts)
    assert 0 < ended < len(seeds), "both kinds of ends were seen"


@chunks
def test_a_driver_that_stands_still_ends_and_restarts_nobody(seeds):
    for seed in seeds:
        world = Processes(seed, crashes=False, stalls=True)
        world.run(60.0)
        assert world.kills == 0 and world.failed is None, f"seed {seed}"
        assert all(len(starts) <= 1 for starts in world.starts.values()), f"seed {seed}"
        world.stalls = False
        world.run(world.now + 10.0)
        assert all(s.state is SlotState.READY for s in world.supervisor.slots.values())


# ---- slots and credits --------------------------------------------------------------------------


@chunks
def test_credit_that_is_lost_or_late_never_lets_more_in_flight_and_never_blocks_for_good(seeds):
    for seed in seeds:
        rng = random.Random(seed)
        targets = tuple(f"b/{i}" for i in range(rng.randint(1, 3)))
        num_credit = rng.randint(1, 4)
        door = HandDoor(up=targets)
        out = StreamOut(Link("data", Stream(num_credit), ("a/0",), targets), door)
        door.on_peers = lambda changed, out=out: [out.peer_changed(name) for name in changed]
        network: list[tuple[str, int, int]] = []  # target, incarnation, slot of a credit to come
        newest = dict.fromkeys(targets, 1)
        for number in range(rng.randint(10, 80)):
            match rng.choice(["send", "send", "credit", "restart", "down"]):
                case "send" if out.ready:
                    out.send(number)
                    network += [(to, door.up[to], message.slot) for to, message in door.sent]
                    door.sent.clear()
                case "credit" if network:
                    hear(out, door, *network.pop(rng.randrange(len(network))))
                case "restart" | "down" as what:
                    name = rng.choice(targets)
                    newest[name] += what == "restart"
                    up = newest[name] if what == "restart" else 0
                    door.change(**{name.replace("/", "_"): up})
                    door.take_peers()
            for target in targets:
                in_flight = [slot for to, i, slot in network if (to, i) == (target, newest[target])]
                assert len(set(in_flight)) == len(in_flight) <= num_credit, f"seed {seed}"
        for target in targets:
            door.change(**{target.replace("/", "_"): newest[target] + 1})
            door.take_peers()
        assert out.ready and out.has_credit, f"seed {seed}: blocked for good"


def hear(out: StreamOut, door: HandDoor, target: str, incarnation: int, slot: int) -> None:
    """A credit arrives. The mailbox's rule: what an old incarnation says is not heard."""
    message = Message(Kind.CREDIT, "data", slot=slot, source=target, incarnation=incarnation)
    if door.up.get(target) == incarnation:
        out.credit(message)


# ---- the limiter --------------------------------------------------------------------------------


@chunks
def test_the_ratio_holds_at_any_speeds_and_neither_side_waits_for_ever(seeds):
    for seed in seeds:
        rng = random.Random(seed)
        target, batch, chunk = rng.uniform(0.1, 20), rng.randint(1, 512), rng.randint(1, 800)
        limiter = SamplesPerInsert(target, rng.randint(0, 2000), rng.uniform(0, 4000))
        eager = rng.random()  # how often the workers have the turn
        waited = 0
        for _ in range(400):
            can = (limiter.can_insert(chunk), limiter.can_sample(batch))
            assert any(can), f"seed {seed}: both sides wait"
            if rng.random() < eager:
                if can[0]:
                    limiter.inserted(chunk)
                waited += not can[0]
            elif can[1]:
                limiter.sampled(batch)
            bound = limiter.tolerance + max(chunk * target, batch)
            if limiter.num_inserted > limiter.min_size + chunk:
                assert -bound <= limiter.owed <= bound + chunk * target, f"seed {seed}"
