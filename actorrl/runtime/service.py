"""The driver's thread that keeps a run alive: it listens to the agents of all hosts, and has done
what the two pure tables say: `HostTable` which host is there (`housing`), `Supervisor` which actor
is started (`cast`). Whatever goes wrong in it ends the run with a message.
"""

from __future__ import annotations

import collections
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import zmq

from actorrl.errors import ActorRLError, RunFailed
from actorrl.runtime import inventory, run_directory, strays
from actorrl.runtime.cast import Cast
from actorrl.runtime.chronicle import Chronicle, Event
from actorrl.runtime.fleet import AgentState, Fleet
from actorrl.runtime.host_specs import LOCAL, ClusterSpec
from actorrl.runtime.housing import Housing
from actorrl.runtime.launch import Launcher
from actorrl.runtime.memory_limits import MemoryExceeded, OwnMemory
from actorrl.runtime.permissions import allowed
from actorrl.runtime.program import Program
from actorrl.runtime.reception import Reception
from actorrl.runtime.refs import DRIVER
from actorrl.runtime.relay import relay_name
from actorrl.runtime.slots import SlotState
from actorrl.runtime.supervisor import Supervisor
from actorrl.runtime.traffic import OwnCounts, TrafficBook
from actorrl.wire.bell import Bell
from actorrl.wire.control_messages import (
    AgentHello,
    AgentStopped,
    Control,
    Health,
    LogLines,
    Stack,
    StopAll,
    Traffic,
)
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.shared_memory import MemoryClient

_TICK_MS = 50
_STOP_MARGIN_S = 8.0
_LEAVE_S = 3.0
_LAST_WORDS_S = 1.0
_LAST_WORD_MS = 20  # for one that is still in the kernel
_DESCRIPTORS_PER_ACTOR = 4
_DESCRIPTORS_BESIDE = 512
_HAS_MORE = "what it keeps itself counts; the host list's `resources` of `local` give it more"


class Service(threading.Thread):
    """See the module. `start`, `wait_ready`, `say` and `stop` are called by the user's thread.
    Raises ProgramError for what cannot be sent to a process."""

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
        self._poller = zmq.Poller()
        self._chronicle = Chronicle(on_event, log_dir)
        self.fleet = Fleet(run_id, spec, launch, log_dir, self._post)
        self._cast = Cast(program, supervisor, self.fleet, self._chronicle)
        self._housing = Housing(
            program, run_id, self.fleet, self._cast, self._chronicle, self._poller
        )
        self._log_dir = log_dir
        self.traffic = TrafficBook(self._chronicle.event)
        self._lost_on_the_way = launch.drops if launch is not None else {}
        self._own_counts: OwnCounts | None = None
        self._reception: Reception | None = None
        self._dir: Path | None = None
        self._door: Endpoint | None = None
        self._posted: collections.deque[Callable[[], None]] = collections.deque()
        self._bell: Bell | None = None  # rung where something is posted
        self._ended = False
        self._unkillable: list[int] = []

    # ---- called by the user's thread ----------------------------------------------------

    @property
    def driver_door(self) -> Endpoint:
        """The driver's door to the actors, from `start` on."""
        assert self._door is not None
        return self._door

    @property
    def failure(self) -> ActorRLError | None:
        """Why the run is over."""
        return self._chronicle.failure

    @property
    def notices(self) -> list[str]:
        """What the placement found worth saying."""
        return list(self._housing.notices)

    @property
    def local_incarnation(self) -> int:
        """Of the own host's agent, whose memory the driver reads."""
        return self.fleet.agents[LOCAL].incarnation

    def start(self) -> None:
        """Raises PlacementError for what fits nowhere, before anything is started. If it raises
        anything, `stop` cleans up."""
        names = list(self._program.nodes)
        inventory.allow_descriptors(_DESCRIPTORS_BESIDE + _DESCRIPTORS_PER_ACTOR * len(names))
        self._dir = path = run_directory.make(self._run_id, names)
        self._bell = Bell()
        self._reception = Reception(
            path, self._log_dir, self._supervisor, self.fleet, self._chronicle.event
        )
        self.fleet.open(path, list(self._program.preload), names)
        board = self.fleet.board
        assert board is not None
        board.on_cut_off = lambda host: self._chronicle.event("agent_cut_off", host=host)
        self._own_memory = OwnMemory(self.fleet.driver_memory_limit)
        tcp = self.fleet.door(self.fleet.keys) if self.fleet.several else None
        memory = MemoryClient(str(path / "memory"))
        self._door = Endpoint(DRIVER, 0, self.fleet.driver_address, memory, LOCAL, tcp)
        self._door.permit(allowed(DRIVER, self._program.links, []))
        self._own_counts = OwnCounts(self.traffic, self._door, board, self._lost_on_the_way)
        self._chronicle.on_failure = self._door.wake
        self._cast.open(self._door)
        self._housing.begin()
        super().start()

    def wait_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._chronicle.changed:
            while self.failure is None and not self._supervisor.all_ready:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise RunFailed(self._not_ready(timeout_s))
                self._chronicle.changed.wait(min(1.0, remaining))
        if self.failure is not None:
            raise self.failure

    def _not_ready(self, timeout_s: float) -> str:
        late = [s.name for s in self._supervisor.slots.values() if s.state is not SlotState.READY]
        hint = self._chronicle.log_hint("")
        each = f"`start_timeout_s` is {self._supervisor.policy.start_timeout_s:g}"
        return f"not ready within {timeout_s:g} s ({each}): {', '.join(late)}{hint}"

    def say(self, name: str, message: Control) -> None:
        """To the agent of the host that has this slot."""
        self._post(lambda: self._cast.say_to_host_of(name, message))

    def _post(self, action: Callable[[], None]) -> None:
        """Have the thread do something; nothing happens once it has ended."""
        self._posted.append(action)
        if self._bell is not None:
            self._bell.ring()

    def stop(self, grace_s: float) -> list[int]:
        """End everything that `start` has begun, however far it came. The pids that could not be
        ended."""
        was_started = self.is_alive() or self._ended
        self._housing.close()
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
            if self._reception is not None:
                self._reception.close()
            if self._dir is not None:
                run_directory.remove(self._dir)
        if self._bell is not None:
            self._bell.close()

    # ---- the thread ---------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._serve()
        except MemoryExceeded as excess:
            self._end_with(RunFailed(f"the driver was {excess}; {_HAS_MORE}"))
        except BaseException:
            text = traceback.format_exc()
            self._end_with(
                RunFailed(f"the driver's service thread failed, the run is over:\n{text}")
            )
        finally:
            self._ended = True

    def _end_with(self, failure: RunFailed) -> None:
        for agent in self.fleet.agents.values():
            if agent.process is not None:
                agent.process.kill()
        self._chronicle.give_up(failure)

    def _serve(self) -> None:
        board, bell, reception = self.fleet.board, self._bell, self._reception
        assert board is not None and bell is not None and reception is not None
        for source in (*board.sources(), bell.fd, reception.fileno()):
            self._poller.register(source, zmq.POLLIN)
        while not self._ended:
            ready = [source for source, _ in self._poller.poll(_TICK_MS)]
            if bell.fd in ready:
                bell.hear()
                while self._posted:
                    self._posted.popleft()()
            self._take_from_agents()
            if reception.fileno() in ready:
                reception.take_question()
            reception.tick()
            for source in ready:
                if self._housing.is_lifeline(source) and not self._ended:
                    self._housing.on_lifeline(source, self._take_last_words)
            self._look()

    def _take_from_agents(self) -> bool:
        """Whether any had something to say."""
        board = self.fleet.board
        assert board is not None
        heard = False
        for host, message in board.heard():
            self._on_agent(host, message)
            heard = True
        for beat in board.take_beats():
            self._housing.on_beat(beat)
        if heard:
            self._chronicle.notify()
        return heard

    def _take_last_words(self) -> None:
        """All that an agent has said before its end, which may be seen before its words arrive; not
        for ever, since others go on talking."""
        board = self.fleet.board
        assert board is not None
        deadline = time.monotonic() + _LAST_WORDS_S
        while board.wait(_LAST_WORD_MS) and time.monotonic() < deadline:
            self._take_from_agents()

    def _look(self) -> None:
        """What time brings."""
        self._housing.look()
        now = time.monotonic()
        self._own_memory.check(now)
        self._cast.look()  # who is gone is told before a successor shows in anybody's status
        self._cast.obey(self._supervisor.tick(now))
        self._cast.look()
        if self._own_counts is not None:
            self._own_counts.look(now)
        if self._cast.stopping and all(agent.over for agent in self._agents_up()):
            self._ended = True

    def _begin_stop(self, grace_s: float) -> None:
        self._cast.stopping = self._supervisor.stopping = True
        self.fleet.table.stop()
        for name, agent in self.fleet.agents.items():
            if not self.fleet.say(name, StopAll(grace_s)) and agent.process is not None:
                agent.process.kill()  # it is not up yet: it has started nobody
                agent.over = True

    def _agents_up(self) -> list[AgentState]:
        """The agents whose end a stop waits for: their last words may be on the way when they have
        ended."""
        return [
            agent
            for name, agent in self.fleet.agents.items()
            if agent.process is not None
            and (agent.process.poll() is None or self._housing.watches(name))
        ]

    def _on_agent(self, host: str, message: Control) -> None:
        match message:
            case AgentHello():
                self._housing.on_hello(host, message)
            case AgentStopped(killed, unkillable):
                self._unkillable += unkillable
                if killed and self._cast.stopping:
                    self._chronicle.event("actors_killed", actors=killed, host=host)
                self.fleet.agents[host].over = True
            case Health() | Stack() | LogLines() if self._reception is not None:
                self._reception.heard(host, message)
            case Traffic(name, incarnation, network, drops):
                if name == relay_name(host) or self._cast.is_of(host, message):
                    self.traffic.heard(name, incarnation, network, drops)
            case _ if self._cast.is_of(host, message):
                self._cast.on_actor(message, time.monotonic())
