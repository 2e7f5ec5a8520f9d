"""The actors of a run as the driver has them: what each is made of, where it is, why it ended."""

from __future__ import annotations

import contextlib
from typing import Any

from actorrl.errors import WireError
from actorrl.runtime import causes, permissions, tables
from actorrl.runtime.chronicle import Chronicle
from actorrl.runtime.fleet import Fleet
from actorrl.runtime.host_specs import LOCAL
from actorrl.runtime.memory_limits import memory_limit
from actorrl.runtime.placement import Place
from actorrl.runtime.program import Program, State
from actorrl.runtime.refs import DRIVER
from actorrl.runtime.slots import SlotState
from actorrl.runtime.supervisor import Announce, Command, Fail, Kill, Start, Supervisor
from actorrl.wire.control_messages import (
    ActorEvent,
    ActorExited,
    ActorFailed,
    ActorHello,
    ActorReady,
    ActorSilent,
    AgentHello,
    Control,
    KillActor,
    Peers,
    StartActor,
)
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.keys import KeyPair
from actorrl.wire.messages import Peer

_LOST_WORD = -1  # an exit code that nobody has heard


class Cast:
    """Does what the supervisor says. Raises ProgramError for what cannot be sent to a process. The
    service thread's."""

    def __init__(
        self, program: Program, supervisor: Supervisor, fleet: Fleet, chronicle: Chronicle
    ) -> None:
        self.supervisor = supervisor
        self.places: dict[str, Place] = {}
        self.stopping = False
        self._has_met = False  # all of the first cast could be reached at once
        self._is_news = False  # somebody has come, or gone
        self._program = program
        self._fleet = fleet
        self._chronicle = chronicle
        self._door: Endpoint | None = None
        self._keys: dict[str, str] = {}  # slot -> public key of its present incarnation
        self._failures: dict[tuple[str, int], ActorFailed] = {}
        self._blobs: dict[str, bytes] = {}
        self._seen: dict[str, tuple[int, int]] = {}  # link -> see StartActor
        known: dict[str, set[str]] = {}
        for name in program.nodes:
            self._blobs[name], known[name] = permissions.blob(program, name)
        self._callers = permissions.callers_in(known)
        self.listeners = permissions.listeners(program.links, self._callers)

    def open(self, door: Endpoint) -> None:
        """`door` is the driver's own."""
        self._door = door

    # ---- what agents say of them --------------------------------------------------------

    def is_of(self, host: str, message: Any) -> bool:
        """Whether the actor that it speaks of is placed there: a host speaks for its own only."""
        slot = self.supervisor.slots.get(getattr(message, "name", ""))
        return slot is not None and slot.host == host

    def on_actor(self, message: Control, now: float) -> None:
        match message:
            case ActorHello(name, incarnation, pid, address, tcp):
                self.obey(self.supervisor.hello(name, incarnation, pid, address, tcp))
            case ActorReady(name, incarnation):
                self.obey(self.supervisor.ready(name, incarnation, now))
                slot = self.supervisor.slots[name]
                self._chronicle.event(
                    "actor_ready", actor=name, incarnation=incarnation, pid=slot.pid
                )
            case ActorFailed(name, incarnation):
                self._failures[(name, incarnation)] = message
            case ActorEvent(name, incarnation, event, details):
                told = {**details, "actor": name, "incarnation": incarnation}
                self._chronicle.event(event, **told)
            case ActorSilent(name, incarnation, seconds, at_limit):
                self.supervisor.silent(name, incarnation, seconds, at_limit)
                event = "actor_hung" if at_limit else "actor_silent"
                self._chronicle.event(event, actor=name, incarnation=incarnation, seconds=seconds)
            case ActorExited():
                self._on_exited(message, now)

    def reconcile(self, host: str, hello: AgentHello, now: float) -> None:
        """The connection was broken, and words of either side may be lost with it."""
        there = {(name, incarnation) for name, incarnation in hello.running}
        running = (SlotState.STARTING, SlotState.READY)
        known = {
            (slot.name, slot.incarnation)
            for slot in self.supervisor.slots.values()
            if slot.host == host and slot.state in running
        }
        for name, incarnation in there - known:
            self._fleet.say(host, KillActor(name, incarnation))
        for name, incarnation in known - there:
            text = "it ended while the connection to its host was broken"
            self._on_exited(ActorExited(name, incarnation, _LOST_WORD, text), now)

    def _on_exited(self, message: ActorExited, now: float) -> None:
        name, incarnation = message.name, message.incarnation
        failed = self._failures.pop((name, incarnation), None)
        slot = self.supervisor.slots[name]
        reason = slot.verdict or causes.reason(message, failed)
        if not self.stopping or failed is not None:
            self._chronicle.event(
                "actor_exited",
                actor=name,
                incarnation=incarnation,
                pid=slot.pid,
                reason=reason,
                rss_bytes=message.rss_bytes,
            )
        fatal = failed is not None and failed.fatal
        commands = self.supervisor.exited(name, incarnation, message.code, reason, fatal, now)
        for command in commands:
            if isinstance(command, Fail):
                hint = self._chronicle.log_hint(f"{name.replace('/', '-')}.log")
                self._chronicle.give_up(causes.root_cause(command, message, failed, hint))
        self.obey(commands)

    # ---- doing --------------------------------------------------------------------------

    def obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Start(name, incarnation):
                    self._start_actor(name, incarnation)
                case Kill(name, incarnation):
                    self.say_to_host_of(name, KillActor(name, incarnation))
                case Announce():
                    self.announce()

    def _start_actor(self, name: str, incarnation: int) -> None:
        node, at = self._program.nodes[name], self.places[name]
        keys = KeyPair.new() if self._fleet.several else None
        self._keys[name] = keys.public if keys is not None else ""
        start = StartActor(
            name,
            incarnation,
            self._blobs[name],
            bool(at.gpus),
            list(at.gpus),
            node.progress_limit_s,
            keys,
            name in self.listeners,
            self._callers.get(name, []),
            self._seen_of(name) if incarnation > 1 else {},
            self._memory_limit(name, at.host),
        )
        self._fleet.say(at.host, start)
        kind = "actor_started" if incarnation == 1 else "actor_restarted"
        self._chronicle.event(kind, actor=name, incarnation=incarnation, host=at.host)

    def _seen_of(self, name: str) -> dict[str, tuple[int, int]]:
        """What readers have had of the states that it writes. The own host mirrors all of them; on
        another one its successor might know of nothing, and begin at versions that nobody takes."""
        if not self._fleet.several or self._door is None:
            return {}
        states = [
            link.name
            for link in self._program.links.values()
            if isinstance(link.kind, State) and name in link.sources
        ]
        for link in states:
            with contextlib.suppress(WireError):  # while the own host's agent is started again
                stamp = self._door.block_reader(link).stamp
                self._seen[link] = max(stamp, self._seen.get(link, stamp))
        return {link: self._seen[link] for link in states if link in self._seen}

    def _memory_limit(self, name: str, host: str) -> int:
        node, (offer,) = self._program.nodes[name], self._fleet.found([host])
        return memory_limit(node, self._fleet.spec.role(node.role), offer)

    def say_to_host_of(self, name: str, message: Control) -> None:
        slot = self.supervisor.slots.get(name)
        if slot is not None and slot.host is not None:
            self._fleet.say(slot.host, message)

    def announce(self) -> None:
        """Have everybody told who lives where, once a round: many may come and go in one."""
        self._is_news = True

    def look(self) -> None:
        """Tell it, if there is news; once or twice in a round of the service."""
        if self._is_news:
            self._is_news = False
            self._tell_all()

    def _tell_all(self) -> None:
        slots = self.supervisor.slots.values()
        door = self._door
        assert door is not None
        self._has_met = self._has_met or all(
            s.incarnation > 1 or s.address or s.state is SlotState.STOPPED for s in slots
        )
        driver = Peer(0, self._fleet.driver_address, LOCAL, door.tcp_address, self._own_key())
        for host in self._fleet.table.carrying():
            table = tables.peers(self._fleet, slots, self._keys, driver, host)
            if host == LOCAL:
                door.post_peers({name: peer for name, peer in table.items() if name != DRIVER})
            if self._has_met:  # nobody acts before
                self._fleet.say(host, Peers(table))
            if self._fleet.several:
                links, host_of = self._program.links, self._host_of
                self._fleet.say(host, tables.relay_plan(self._fleet, links, host_of, host))
        if LOCAL not in self._fleet.table.carrying():
            door.post_peers({})

    def _own_key(self) -> str:
        return self._fleet.keys.public if self._fleet.several else ""

    def _host_of(self, name: str) -> str | None:
        return LOCAL if name == DRIVER else self.supervisor.slots[name].host
