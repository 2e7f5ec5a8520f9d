"""The driver's thread that keeps a run alive: it listens to the agents of all hosts, and does what
the two pure tables say: `HostTable` which host is there, `Supervisor` which actor is started where.
Whatever goes wrong in it ends the run with a message.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from actorrl.errors import ActorRLError, HostError, PlacementError, ProgramError, RunFailed
from actorrl.runtime import causes, inventory, permissions, run_directory, strays, tables
from actorrl.runtime.desk import Desk, answer
from actorrl.runtime.fleet import Fleet
from actorrl.runtime.host_specs import LOCAL, ClusterSpec
from actorrl.runtime.host_states import HostChanged, HostCommand, HostState, LoseHost, StartHost
from actorrl.runtime.launch import Launcher
from actorrl.runtime.log_book import LogBook
from actorrl.runtime.permissions import allowed
from actorrl.runtime.placement import Place, place
from actorrl.runtime.program import Program
from actorrl.runtime.refs import DRIVER
from actorrl.runtime.supervisor import (
    Announce,
    Command,
    Fail,
    Kill,
    SlotState,
    Start,
    Supervisor,
)
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.keys import KeyPair
from actorrl.wire.messages import (
    ActorEvent,
    ActorExited,
    ActorFailed,
    ActorHello,
    ActorReady,
    ActorSilent,
    AgentHello,
    AgentStopped,
    Control,
    DumpStack,
    Health,
    KillActor,
    LogLines,
    Peer,
    Peers,
    Stack,
    StartActor,
    StopAll,
)
from actorrl.wire.shared_memory import MemoryClient

_TICK_MS = 50
_STOP_MARGIN_S = 8.0
_LEAVE_S = 3.0
_DESCRIPTORS_PER_ACTOR = 4
_DESCRIPTORS_BESIDE = 512
_SHOWN = 20  # actors in an error
_LOST_WORD = -1  # an exit code that nobody has heard

Event = dict[str, Any]


class Service(threading.Thread):
    """See the module. `start`, `wait_ready`, `post` and `stop` are called by the user's thread."""

    def __init__(
        self,
        program: Program,
        spec: ClusterSpec,
        launch: Launcher | None,
        run_id: str,
        supervisor: Supervisor,
        log_dir: Path | None,
        on_event: Callable[[Event], None],
    ) -> None:
        super().__init__(name="actorrl-service", daemon=True)
        self._program = program
        self._run_id = run_id
        self._supervisor = supervisor
        self._log_dir = log_dir
        self._on_event = on_event
        self.fleet = Fleet(run_id, spec, launch, log_dir, self._post)
        self.fleet.on_launched = self._on_launched
        self.notices: list[str] = []
        self._places: dict[str, Place] = {}
        self._keys: dict[str, str] = {}  # slot -> public key of its present incarnation
        self._blobs: dict[str, bytes] = {}
        self._callers: dict[str, list[str]] = {}
        self._book = LogBook(log_dir)
        self._desk: Desk | None = None
        self._health: dict[str, tuple[float, int]] = {}
        self._dir: Path | None = None
        self._door: Endpoint | None = None
        self._posted: collections.deque[Callable[[], None]] = collections.deque()
        self._posted_fd = -1
        self._poller = zmq.Poller()
        self._lifelines: dict[int, str] = {}
        self.failure: ActorRLError | None = None
        self._failures: dict[tuple[str, int], ActorFailed] = {}
        self._changed = threading.Condition()
        self._is_placed = False
        self._first_errors: dict[str, HostError] = {}
        self._ended = False
        self._stopping = False
        self._unkillable: list[int] = []

    # ---- called by the user's thread ----------------------------------------------------

    @property
    def driver_door(self) -> Endpoint:
        """The driver's door to the actors, from `start` on."""
        assert self._door is not None
        return self._door

    @property
    def local_incarnation(self) -> int:
        """Of the own host's agent, whose memory the driver reads."""
        return self.fleet.agents[LOCAL].incarnation

    def start(self) -> None:
        """Raises ProgramError for what cannot be sent to a process, PlacementError for what fits
        nowhere, before anything is started. If it raises anything, `stop` cleans up."""
        self._make_blobs()
        if not self.fleet.several:  # nobody has to be reached before it is known
            place(self._program, self.fleet.found([LOCAL]), self.fleet.spec.roles)
        wanted = _DESCRIPTORS_BESIDE + _DESCRIPTORS_PER_ACTOR * len(self._blobs)
        inventory.allow_descriptors(wanted)
        self._dir = path = run_directory.make(self._run_id, list(self._blobs))
        self._posted_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._desk = Desk(path)
        self.fleet.open(path, list(self._program.preload), list(self._blobs))
        tcp = self.fleet.door(self.fleet.keys) if self.fleet.several else None
        memory = MemoryClient(str(path / "memory"))
        self._door = Endpoint(DRIVER, 0, f"ipc://{path}/driver", memory, LOCAL, tcp)
        self._door.permit(allowed(DRIVER, self._program.links, []))
        self._obey_hosts(self.fleet.table.tick(time.monotonic()))
        super().start()

    def _make_blobs(self) -> None:
        callers: dict[str, set[str]] = collections.defaultdict(set)
        for name in self._program.nodes:
            self._blobs[name], known = _blob(self._program, name)
            for other in known:
                callers[other].add(name)
        self._callers = {name: sorted(names) for name, names in callers.items()}

    def wait_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self.failure is None and not self._supervisor.all_ready:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise RunFailed(self._not_ready(timeout_s))
                self._changed.wait(min(1.0, remaining))
        if self.failure is not None:
            raise self.failure

    def _not_ready(self, timeout_s: float) -> str:
        late = [s.name for s in self._supervisor.slots.values() if s.state is not SlotState.READY]
        return f"not ready within {timeout_s:g} s: {', '.join(late)}{self._log_hint('')}"

    def say(self, name: str, message: Control) -> None:
        """To the agent of the host that has this slot."""
        self._post(lambda: self._say_to_host_of(name, message))

    def _post(self, action: Callable[[], None]) -> None:
        """Have the thread do something; nothing happens once it has ended."""
        self._posted.append(action)
        with self._changed:
            if self._posted_fd >= 0:
                os.eventfd_write(self._posted_fd, 1)

    def stop(self, grace_s: float) -> list[int]:
        """End everything that `start` has begun, however far it came. The pids that could not be
        ended."""
        was_started = self.is_alive() or self._ended
        if self.is_alive():
            self._post(lambda: self._begin_stop(grace_s))
            self.join(timeout=grace_s + _STOP_MARGIN_S)
        self.fleet.close(_LEAVE_S if self._ended else 0.0)
        if self.is_alive():
            self.join(timeout=_LEAVE_S)  # the end of the agents ends it
        if was_started or self._dir is not None:
            self._unkillable = strays.kill_run(self._run_id, _LEAVE_S)
        self._release()
        return self._unkillable

    def _release(self) -> None:
        if self._door is not None:
            self._door.close()
        if not self.is_alive():
            self.fleet.close_sockets()
            if self._desk is not None:
                self._desk.close()
            if self._dir is not None:
                run_directory.remove(self._dir)
        with self._changed:
            if self._posted_fd >= 0:
                os.close(self._posted_fd)
                self._posted_fd = -1

    # ---- the thread ---------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._serve()
        except BaseException:
            text = traceback.format_exc()
            for agent in self.fleet.agents.values():
                if agent.process is not None:
                    agent.process.kill()
            self._give_up(
                RunFailed(f"the driver's service thread failed, the run is over:\n{text}")
            )
        finally:
            self._ended = True

    def _serve(self) -> None:
        assert self.fleet.board is not None and self._desk is not None
        for source in (*self.fleet.board.sources(), self._posted_fd, self._desk.fileno()):
            self._poller.register(source, zmq.POLLIN)
        while not self._ended:
            ready = [source for source, _ in self._poller.poll(_TICK_MS)]
            if self._posted_fd in ready:
                self._take_posted()
            self._take_from_agents()
            if self._desk.fileno() in ready:
                self._take_question(self._desk)
            self._desk.tick()
            for source in ready:
                if source in self._lifelines and not self._ended:
                    self._on_lifeline(source)
            self._look()

    def _take_posted(self) -> None:
        os.eventfd_read(self._posted_fd)
        while self._posted:
            self._posted.popleft()()

    def _take_from_agents(self) -> None:
        board = self.fleet.board
        assert board is not None
        heard = False
        for host, message in board.heard():
            self._on_agent(host, message)
            heard = True
        for beat in board.take_beats():
            self.fleet.heard_beat(beat)
            now = time.monotonic()
            self._obey_hosts(self.fleet.table.beat(beat.host, beat.incarnation, now))
        if heard:
            self._notify()

    def _look(self) -> None:
        """What time brings."""
        now = time.monotonic()
        self._obey_hosts(self.fleet.table.tick(now))
        if not self._stopping and self.failure is None:
            self._place_homeless()
        self._obey(self._supervisor.tick(now))
        if self._stopping and all(agent.over for agent in self._agents_up()):
            self._ended = True

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _begin_stop(self, grace_s: float) -> None:
        self._stopping = self._supervisor.stopping = True
        self.fleet.table.stop()
        for name, agent in self.fleet.agents.items():
            if not self._say_to(name, StopAll(grace_s)) and agent.process is not None:
                agent.process.kill()  # it is not up yet: it has started nobody
                agent.over = True

    def _agents_up(self) -> list[Any]:
        """The agents whose end a stop waits for."""
        return [
            agent
            for name, agent in self.fleet.agents.items()
            if agent.process is not None and agent.process.poll() is None
        ]

    def _take_question(self, desk: Desk) -> None:
        taken = desk.take()
        if taken is None:
            return
        connection, question = taken
        actor = str(question.get("actor", ""))
        slot = self._supervisor.slots.get(actor)
        if question.get("ask") == "top":
            answer(connection, {"actors": self.rows(), "hosts": self.fleet.health()})
        elif question.get("ask") != "stack" or slot is None:
            known = ", ".join(list(self._supervisor.slots)[:_SHOWN])
            answer(connection, {"error": f"{actor}: there is no such actor, there are {known}"})
        elif slot.pid is None or slot.host is None:
            answer(connection, {"error": f"{actor} is {slot.state}, it has no process now"})
        else:
            desk.wait(actor, connection)
            self._say_to(slot.host, DumpStack(actor))

    def rows(self) -> list[dict[str, Any]]:
        """A row per actor, with what it uses."""
        rows = self._supervisor.rows()
        for row in rows:
            row["cores"], row["rss_bytes"] = self._health.get(row["name"], (0.0, 0))
        return rows

    # ---- what agents say ----------------------------------------------------------------

    def _on_agent(self, host: str, message: Control) -> None:
        now = time.monotonic()
        match message:
            case AgentHello():
                self._on_hello(host, message, now)
            case AgentStopped(killed, unkillable):
                self._unkillable += unkillable
                if killed and self._stopping:
                    self._event("actors_killed", actors=killed, host=host)
                self.fleet.agents[host].over = True
            case Health(actors):
                self._health.update(actors)
            case Stack(name, text) if self._desk is not None:
                self._desk.arrived(name, {"text": text})
            case LogLines(name, text, left_out):
                self._book.write(name, host, text, left_out)
            case _ if self._is_of(host, message):
                self._on_actor(message, now)

    def _is_of(self, host: str, message: Any) -> bool:
        """Whether the actor that it speaks of is placed there: a host speaks for its own only."""
        slot = self._supervisor.slots.get(getattr(message, "name", ""))
        return slot is not None and slot.host == host

    def _on_actor(self, message: Control, now: float) -> None:
        match message:
            case ActorHello(name, incarnation, pid, address, tcp):
                self._obey(self._supervisor.hello(name, incarnation, pid, address, tcp))
            case ActorReady(name, incarnation):
                self._obey(self._supervisor.ready(name, incarnation, now))
                slot = self._supervisor.slots[name]
                self._event("actor_ready", actor=name, incarnation=incarnation, pid=slot.pid)
            case ActorFailed(name, incarnation):
                self._failures[(name, incarnation)] = message
            case ActorEvent(name, incarnation, event, details):
                self._event(event, actor=name, incarnation=incarnation, **details)
            case ActorSilent(name, incarnation, seconds, at_limit):
                self._supervisor.silent(name, incarnation, seconds, at_limit)
                event = "actor_hung" if at_limit else "actor_silent"
                self._event(event, actor=name, incarnation=incarnation, seconds=seconds)
            case ActorExited():
                self._on_exited(message, now)

    def _on_hello(self, host: str, hello: AgentHello, now: float) -> None:
        is_new = self.fleet.table.hello(host, hello.incarnation, now)
        self.fleet.heard_hello(host, hello)
        if self._stopping:
            self._say_to(host, StopAll(0.0))
        elif is_new:
            self._event("host_up", host=host, pid=hello.pid)
        else:
            self._reconcile(host, hello, now)
        self._announce()

    def _reconcile(self, host: str, hello: AgentHello, now: float) -> None:
        """The connection was broken, and words of either side may be lost with it."""
        there = {(name, incarnation) for name, incarnation in hello.running}
        running = (SlotState.STARTING, SlotState.READY)
        known = {
            (slot.name, slot.incarnation)
            for slot in self._supervisor.slots.values()
            if slot.host == host and slot.state in running
        }
        for name, incarnation in there - known:
            self._say_to(host, KillActor(name, incarnation))
        for name, incarnation in known - there:
            text = "it ended while the connection to its host was broken"
            self._on_exited(ActorExited(name, incarnation, _LOST_WORD, text), now)

    def _on_exited(self, message: ActorExited, now: float) -> None:
        name, incarnation = message.name, message.incarnation
        failed = self._failures.pop((name, incarnation), None)
        slot = self._supervisor.slots[name]
        reason = slot.verdict or causes.reason(message, failed)
        if not self._stopping or failed is not None:
            self._event(
                "actor_exited",
                actor=name,
                incarnation=incarnation,
                pid=slot.pid,
                reason=reason,
                rss_bytes=message.rss_bytes,
            )
        fatal = failed is not None and failed.fatal
        commands = self._supervisor.exited(name, incarnation, message.code, reason, fatal, now)
        for command in commands:
            if isinstance(command, Fail):
                hint = self._log_hint(f"{name.replace('/', '-')}.log")
                self._give_up(causes.root_cause(command, message, failed, hint))
        self._obey(commands)

    # ---- hosts --------------------------------------------------------------------------

    def _on_launched(self, host: str, incarnation: int, error: HostError | None) -> None:
        now = time.monotonic()
        if error is not None:
            self._first_errors.setdefault(host, error)
            self._obey_hosts(self.fleet.table.ended(host, incarnation, str(error), now))
            return
        self.fleet.table.launched(host, incarnation, now)
        agent = self.fleet.agents[host]
        assert agent.process is not None
        fd = agent.process.fileno()
        self._lifelines[fd] = host
        self._poller.register(fd, zmq.POLLIN)
        self._event("host_started", host=host, pid=agent.process.pid)
        if self._stopping:
            agent.process.kill()

    def _on_lifeline(self, fd: int) -> None:
        host = self._lifelines.pop(fd)
        self._poller.unregister(fd)
        self._take_from_agents()  # its last words
        reason = self.fleet.ended(host)
        if reason is None:
            self._event("host_lifeline_broken", host=host)
        else:
            agent = self.fleet.agents[host]
            agent.over = True
            ended = self.fleet.table.ended(host, agent.incarnation, reason, time.monotonic())
            self._obey_hosts([] if self._stopping else ended)

    def _obey_hosts(self, commands: list[HostCommand]) -> None:
        for command in commands:
            match command:
                case StartHost(name, incarnation):
                    self._start_host(name, incarnation)
                case LoseHost():
                    self._lose_host(command)
                case HostChanged(name, state):
                    kind = "host_suspect" if state is HostState.SUSPECT else "host_recovered"
                    self._event(kind, host=name)

    def _start_host(self, name: str, incarnation: int) -> None:
        try:
            self.fleet.start(name, incarnation)
        except OSError as error:
            if not self.is_alive():
                raise  # to the user's thread
            self._on_launched(name, incarnation, HostError(f"{name}: {error}"))

    def _lose_host(self, lost: LoseHost) -> None:
        for fd in [fd for fd, name in self._lifelines.items() if name == lost.name]:
            del self._lifelines[fd]
            self._poller.unregister(fd)
        self.fleet.fence(lost.name)
        if lost.name == LOCAL:  # they end by themselves; what they have started may not
            strays.kill_run(self._run_id, 0.0, LOCAL)
        self._event("host_lost", host=lost.name, reason=lost.reason.splitlines()[0])
        self._places = {s: at for s, at in self._places.items() if at.host != lost.name}
        self._obey(self._supervisor.host_lost(lost.name, time.monotonic()))
        self._notify()

    # ---- who goes where -----------------------------------------------------------------

    def _place_homeless(self) -> None:
        homeless = self._supervisor.homeless()
        if not homeless or (not self._is_placed and not self._all_came()):
            return
        hosts = self.fleet.found([host for host in self.fleet.table.up() if self._is_listed(host)])
        awaited = [host for host in self.fleet.table.awaited() if self._is_listed(host)]
        minimum = self.fleet.spec.failure.min_hosts
        try:
            if len(hosts) < minimum:
                raise HostError(self._too_few(len(hosts), minimum))
            self._place(hosts)
        except (HostError, PlacementError) as error:
            if not (self._is_placed and awaited):
                self._give_up(RunFailed(str(error)) if self._is_placed else error)
                self._obey(self._supervisor.give_up(homeless[0], str(error)))

    def _is_listed(self, host: str) -> bool:
        return any(host == each.name for each in self.fleet.spec.hosts)

    def _all_came(self) -> bool:
        """Whether each host is up or has failed once; a required one that failed ends the run."""
        hosts = self.fleet.table.hosts
        failed = [
            host.error or ""
            for host in hosts.values()
            if self.fleet.agents[host.name].spec.required and host.error and not host.was_up
        ]
        if failed:
            errors = [self._first_errors[h] for h in hosts if h in self._first_errors]
            self._give_up(errors[0] if len(errors) == 1 else HostError("\n".join(map(str, errors))))
            self._supervisor.stopping = True
            return False
        return all(host.was_up or host.error is not None for host in hosts.values())

    def _too_few(self, count: int, minimum: int) -> str:
        lines = [
            f"  {host.name}: {host.state}{f', {host.error}' if host.error else ''}"
            for host in self.fleet.table.hosts.values()
        ]
        table = "\n".join(lines)
        return f"{count} hosts are up and failure.min_hosts is {minimum}:\n{table}"

    def _place(self, hosts: list[Any]) -> None:
        """Raises PlacementError."""
        places, notices = place(self._program, hosts, self.fleet.spec.roles, self._places)
        if not self._is_placed:
            self.notices += notices
        self._places, self._is_placed = places, True
        for name in self._supervisor.homeless():
            self._supervisor.placed(name, places[name].host)

    # ---- doing --------------------------------------------------------------------------

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Start(name, incarnation):
                    self._start_actor(name, incarnation)
                case Kill(name, incarnation):
                    self._say_to_host_of(name, KillActor(name, incarnation))
                case Announce():
                    self._announce()

    def _start_actor(self, name: str, incarnation: int) -> None:
        node, at = self._program.nodes[name], self._places[name]
        keys = KeyPair.new() if self.fleet.several else None
        self._keys[name] = keys.public if keys is not None else ""
        start = StartActor(
            name,
            incarnation,
            self._blobs[name],
            bool(at.gpus),
            list(at.gpus),
            node.progress_limit_s,
            keys,
            self._callers.get(name, []),
        )
        self._say_to(at.host, start)
        kind = "actor_started" if incarnation == 1 else "actor_restarted"
        self._event(kind, actor=name, incarnation=incarnation, host=at.host)

    def _say_to_host_of(self, name: str, message: Control) -> None:
        slot = self._supervisor.slots.get(name)
        if slot is not None and slot.host is not None:
            self._say_to(slot.host, message)

    def _say_to(self, host: str, message: Control) -> bool:
        return self.fleet.board is not None and self.fleet.board.say(host, message)

    def _announce(self) -> None:
        slots = self._supervisor.slots.values()
        door = self.driver_door
        driver = Peer(0, f"ipc://{self._dir}/driver", LOCAL, door.tcp_address, self._own_key())
        for host in self.fleet.table.carrying():
            table = tables.peers(self.fleet, slots, self._keys, driver, host)
            if host == LOCAL:
                door.post_peers({name: peer for name, peer in table.items() if name != DRIVER})
            # nobody acts before everybody of the first cast can be reached
            if all(s.incarnation > 1 or s.address or s.state is SlotState.STOPPED for s in slots):
                self._say_to(host, Peers(table))
            if self.fleet.several:
                links, host_of = self._program.links, self._host_of
                self._say_to(host, tables.relay_plan(self.fleet, links, host_of, host))
        if LOCAL not in self.fleet.table.carrying():
            door.post_peers({})

    def _own_key(self) -> str:
        return self.fleet.keys.public if self.fleet.several else ""

    def _host_of(self, name: str) -> str | None:
        return LOCAL if name == DRIVER else self._supervisor.slots[name].host

    # ---- failures and events ------------------------------------------------------------

    def _log_hint(self, file: str) -> str:
        """Where to read on; the logs of a run without a log directory go with it."""
        return f"\n  its log: {self._log_dir / file}" if self._log_dir is not None else ""

    def _give_up(self, failure: ActorRLError) -> None:
        if self.failure is not None:
            return
        self.failure = failure
        self._notify()
        self.driver_door.wake()
        with contextlib.suppress(Exception):  # the failure itself is told already
            self._event("run_failed", reason=str(failure).splitlines()[0])

    def _event(self, event: str, **details: Any) -> None:
        self._on_event({"time": time.time(), "event": event, **details})


def _blob(program: Program, name: str) -> tuple[bytes, set[str]]:
    """What makes the actor, for its process alone to open; and whom it can call."""
    node = program.nodes[name]
    try:
        return permissions.pickled((node.cls, node.args, node.kwargs, program.links))
    except Exception as error:
        raise ProgramError(
            f"{name}: {node.cls.__name__} and its arguments cannot be sent to a process of their"
            f" own: {error}; make in on_start what belongs to one process"
        ) from error
