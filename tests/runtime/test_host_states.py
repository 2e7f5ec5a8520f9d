"""Which hosts are there: the table as tables, and both tables together under thousands of random
sequences of events."""

from __future__ import annotations

import dataclasses
import random

import pytest

from actorrl.runtime.host_states import (
    HostChanged,
    HostPolicy,
    HostState,
    HostTable,
    LoseHost,
    StartHost,
)
from actorrl.runtime.program import Restart
from actorrl.runtime.slots import Policy, SlotState
from actorrl.runtime.supervisor import Fail, Kill, Start, Supervisor

POLICY = HostPolicy(cooldown_s=4.0, local_cooldown_s=1.0, jitter=0.0, max_losses=3, window_s=1000.0)


def table(**changes) -> HostTable:
    return HostTable("local", ["far"], dataclasses.replace(POLICY, **changes))


def bring_up(hosts: HostTable, now: float) -> None:
    for name, host in hosts.hosts.items():
        if host.state is HostState.STARTING:
            hosts.launched(name, host.incarnation, now)
            assert hosts.hello(name, host.incarnation, now)


def run(hosts: HostTable, start: float, end: float, beating: tuple[str, ...] = ()) -> list:
    """Ticks twice a second, with beats of some; what was commanded when."""
    found = []
    for half in range(int(start * 2), int(end * 2) + 1):
        now = half / 2
        for name in beating:
            found += [(now, c) for c in hosts.beat(name, hosts.hosts[name].incarnation, now)]
        found += [(now, command) for command in hosts.tick(now)]
    return found


def up(**changes) -> HostTable:
    hosts = table(**changes)
    assert hosts.tick(0.0) == [StartHost("local", 1), StartHost("far", 1)]
    bring_up(hosts, 0.0)
    return hosts


def test_hosts_that_beat_stay_up_and_nothing_is_commanded():
    assert run(up(), 0.5, 100.0, ("local", "far")) == []


def test_a_silent_host_is_suspect_then_lost_then_started_again():
    hosts = up()
    assert run(hosts, 0.5, 15.0, ("local",)) == [
        (4.5, HostChanged("far", HostState.SUSPECT)),
        (10.5, LoseHost("far", 1, "not heard of for 10 s", True)),
        (14.5, StartHost("far", 2)),
    ]
    assert hosts.up() == ["local"] and hosts.awaited() == ["far"]


def test_a_suspect_host_that_beats_again_is_up_and_carries_all_the_while():
    hosts = up()
    run(hosts, 0.5, 6.0, ("local",))
    assert hosts.up() == ["local"] and hosts.carrying() == ["local", "far"]
    assert hosts.beat("far", 1, 6.5) == [HostChanged("far", HostState.UP)]
    assert run(hosts, 6.5, 20.0, ("local", "far")) == []


def test_the_own_hosts_silence_alone_is_borne_longer():
    commands = run(up(), 0.5, 31.0, ("far",))
    assert [when for when, c in commands if isinstance(c, LoseHost)] == [30.5]


def test_a_gap_between_ticks_is_nobodys_silence():
    hosts = up()
    run(hosts, 0.5, 3.0)
    assert hosts.tick(1003.0) == []
    assert run(hosts, 1003.5, 1004.0) == []
    assert run(hosts, 1004.5, 1005.0)[0][1] == HostChanged("local", HostState.SUSPECT)


def test_the_end_of_an_agent_is_a_loss_at_once_and_cooldowns_double():
    hosts = up(max_losses=10)
    now, starts = 1.0, []
    for number in range(1, 4):
        assert hosts.ended("far", number, "it ended", now) == [
            LoseHost("far", number, "it ended", True)
        ]
        ((when, command),) = run(hosts, now, now + 20, ("local",))
        assert command == StartHost("far", number + 1)
        starts.append(when - now)
        now += 21
        bring_up(hosts, now)
    assert starts == [4.0, 8.0, 16.0]


def test_a_host_that_is_lost_too_often_is_given_up():
    hosts = up()
    for number in range(1, 5):
        hosts.ended("far", number, "it ended", 1.0)
        run(hosts, 1.0, 100.0, ("local",))
        if hosts.hosts["far"].incarnation > number:
            bring_up(hosts, 1.0)
    assert hosts.hosts["far"].state is HostState.GIVEN_UP
    assert hosts.awaited() == [] and hosts.hosts["far"].error == "it ended"


def test_a_start_that_leads_to_nothing_is_a_loss_that_never_was_up():
    hosts = table(start_timeout_s=5.0)
    hosts.tick(0.0)
    hosts.launched("far", 1, 1.0)
    ((when, lost),) = run(hosts, 1.0, 8.0)
    assert (when, lost) == (
        6.5,
        LoseHost("far", 1, "its agent said nothing within 5 s", False),
    )
    assert hosts.hosts["local"].state is HostState.STARTING  # still being prepared: that may take


def test_a_host_that_is_never_ready_for_its_agent_is_lost_too():
    hosts = table(prepare_timeout_s=50.0)
    hosts.tick(0.0)
    hosts.launched("local", 1, 0.0)
    hosts.hello("local", 1, 0.0)
    commands = run(hosts, 0.5, 60.0, ("local",))
    assert commands[0] == (50.5, LoseHost("far", 1, "its agent was not started within 50 s", False))
    assert commands[1] == (54.5, StartHost("far", 2))


def test_words_of_an_old_agent_change_nothing():
    hosts = up()
    hosts.ended("far", 1, "it ended", 1.0)
    assert hosts.beat("far", 1, 2.0) == [] and not hosts.hello("far", 1, 2.0)
    assert hosts.ended("far", 1, "again", 2.0) == []
    assert len(hosts.hosts["far"].losses) == 1


def test_nobody_is_started_while_the_run_is_being_stopped():
    hosts = up()
    hosts.ended("far", 1, "it ended", 1.0)
    hosts.stop()
    assert run(hosts, 1.0, 100.0) == []


# ---- both tables, thousands of sequences ----------------------------------------------------


class World:
    """Hosts and actors that do what they are told, late or never, and fail at random. It checks
    what must hold after each event."""

    HOSTS = ("local", "one", "two")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.hosts = HostTable("local", ["one", "two"], POLICY, seed)
        self.policy = Policy(max_restarts=4, window_s=50.0, backoff_s=0.5, same_failure_limit=3)
        names = {f"a/{index}": Restart.PERMANENT for index in range(5)}
        self.sup = Supervisor(names, self.policy, seed)
        self.now = 0.0
        self.agents: dict[str, int] = {}  # host -> incarnation of the agent that lives there
        self.silent: set[str] = set()
        self.actors: dict[str, tuple[str, int, bool]] = {}  # slot -> host, incarnation, ready
        self.started: set[tuple[str, int]] = set()
        self.highest: dict[str, int] = {}
        self.own_failures: dict[str, list[float]] = {name: [] for name in names}
        self.failed = False

    def obey(self, commands: list) -> None:
        for command in commands:
            match command:
                case StartHost(name, incarnation):
                    assert incarnation == self.highest.get(name, 0) + 1
                    assert name not in self.agents, "two agents of one host"
                    self.highest[name] = incarnation
                    self.agents[name] = incarnation
                case LoseHost(name, _, _, _):
                    self.end_host(name)
                    self.obey(self.sup.host_lost(name, self.now))
                case Start(name, incarnation):
                    assert not self.failed and not self.sup.stopping
                    assert (name, incarnation) not in self.started, "started twice"
                    assert incarnation == self.highest.get(name, 0) + 1
                    assert name not in self.actors, "two processes of one slot"
                    host = self.sup.slots[name].host
                    assert host in self.hosts.carrying()
                    self.highest[name] = incarnation
                    self.started.add((name, incarnation))
                    self.actors[name] = (host, incarnation, False)
                case Kill(name, incarnation):
                    self.end_actor(name, "killed", -9)
                case Fail():
                    self.failed = True

    def end_host(self, name: str) -> None:
        self.agents.pop(name, None)
        self.silent.discard(name)
        for slot, (host, _, _) in list(self.actors.items()):
            if host == name:
                del self.actors[slot]

    def end_actor(self, name: str, reason: str, code: int = 1) -> None:
        _, incarnation, _ = self.actors.pop(name)
        self.own_failures[name].append(self.now)
        self.obey(self.sup.exited(name, incarnation, code, reason, False, self.now))

    def place(self) -> None:
        up = self.hosts.up()
        for name in self.sup.homeless() if up else []:
            self.sup.placed(name, self.random.choice(up))

    def tick(self, seconds: float) -> None:
        self.now += seconds
        for name, incarnation in list(self.agents.items()):
            if name not in self.silent and self.hosts.hosts[name].carries:
                self.obey(self.hosts.beat(name, incarnation, self.now))
        self.obey(self.hosts.tick(self.now))
        self.place()
        self.obey(self.sup.tick(self.now))

    def event(self) -> None:
        match self.random.randrange(10):
            case 0 | 1 | 2:
                self.bring_something_up()
            case 3 if self.actors:
                self.end_actor(self.random.choice(sorted(self.actors)), f"r{self.now}")
            case 4 if self.agents:
                name = self.random.choice(sorted(self.agents))
                self.obey(self.hosts.ended(name, self.agents[name], "killed", self.now))
            case 5 if self.agents:
                self.silent ^= {self.random.choice(sorted(self.agents))}
            case 6:
                self.stale_words()
            case 7:
                self.sleep()
            case _:
                self.tick(self.random.choice((0.05, 0.5, 1.0)))

    def bring_something_up(self) -> None:
        for name, incarnation in self.agents.items():
            self.hosts.launched(name, incarnation, self.now)
            self.hosts.hello(name, incarnation, self.now)
        for name, (host, incarnation, _) in list(self.actors.items()):
            if self.random.random() < 0.7 and host not in self.silent:
                self.sup.hello(name, incarnation, 1, "ipc://x")
                self.sup.ready(name, incarnation, self.now)
                self.actors[name] = (host, incarnation, True)

    def stale_words(self) -> None:
        name = self.random.choice(sorted(self.sup.slots))
        old = self.sup.slots[name].incarnation - 1
        before = dataclasses.replace(self.sup.slots[name])
        self.sup.hello(name, old, 99, "ipc://old")
        self.sup.ready(name, old, self.now)
        assert self.sup.exited(name, old, 1, "old", True, self.now) == []
        assert before == self.sup.slots[name]

    def sleep(self) -> None:
        """The laptop sleeps: nobody beats, nothing ends, nothing may be ended for it."""
        self.now += 1000.0
        of_hosts, of_actors = self.hosts.tick(self.now), self.sup.tick(self.now)
        assert not any(isinstance(command, LoseHost | HostChanged) for command in of_hosts)
        assert not any(isinstance(command, Kill) for command in of_actors)
        self.obey([*of_hosts, *of_actors])

    def check(self) -> None:
        for name, slot in self.sup.slots.items():
            alive = self.actors.get(name)
            running = slot.state in (SlotState.STARTING, SlotState.READY)
            assert running == (alive is not None), (name, slot.state, alive)
            assert slot.incarnation == self.highest.get(name, 0)
            assert alive is None or alive[:2] == (slot.host, slot.incarnation)
            assert len(slot.recent) <= self.policy.max_restarts
        for name, host in self.hosts.hosts.items():
            assert host.incarnation == self.highest.get(name, 0)
            there = host.carries or host.state is HostState.STARTING
            assert there == (name in self.agents)


@pytest.mark.parametrize("block", range(4))
def test_whatever_happens_the_two_tables_keep_their_promises(block):
    for seed in range(block * 500, block * 500 + 500):
        world = World(seed)
        try:
            world.tick(0.0)
            for _ in range(60):
                if world.failed:
                    break
                world.event()
                world.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, at {world.now}: {error}") from error


def test_after_the_last_fault_all_are_up_again():
    for seed in range(300):
        world = World(seed)
        world.policy = world.sup.policy = dataclasses.replace(world.policy, max_restarts=10**6)
        world.hosts.policy = dataclasses.replace(POLICY, max_losses=10**6, cooldown_limit_s=20.0)
        world.sup.policy = dataclasses.replace(world.sup.policy, group_restarts=10**6)
        for _ in range(40):
            world.event()
        world.silent.clear()
        for _ in range(400):
            world.bring_something_up()
            world.tick(0.5)
        assert world.failed or world.sup.all_ready, seed
        assert world.failed or world.hosts.up() == ["local", "one", "two"], seed
