"""The driver's thread that keeps a run alive: it owns the agent's process and the socket to it, and
does what the supervisor says. Whatever goes wrong in it ends the run with a message.
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

import cloudpickle
import zmq

from actorrl.errors import ActorRLError, ProgramError, RunFailed
from actorrl.runtime import causes, inventory, strays
from actorrl.runtime.agent_link import HOST, AgentLink
from actorrl.runtime.failure import exit_code_text
from actorrl.runtime.placement import Place
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
    KillActor,
    Peer,
    Peers,
    StartActor,
    StopAll,
)
from actorrl.wire.shared_memory import MemoryClient

_TICK_MS = 50
_STOP_MARGIN_S = 8.0
_LEAVE_S = 3.0
_LAST_WORDS_MS = 100
_DESCRIPTORS_PER_ACTOR = 4
_DESCRIPTORS_BESIDE = 512

Event = dict[str, Any]


class Service(threading.Thread):
    """See the module. `start`, `wait_ready`, `post` and `stop` are called by the user's thread."""

    def __init__(
        self,
        program: Program,
        places: dict[str, Place],
        run_id: str,
        supervisor: Supervisor,
        log_dir: Path | None,
        on_event: Callable[[Event], None],
    ) -> None:
        super().__init__(name="actorrl-service", daemon=True)
        self._program = program
        self._places = places
        self._run_id = run_id
        self._supervisor = supervisor
        self._log_dir = log_dir
        self._on_event = on_event
        self.agent = AgentLink(run_id, log_dir)
        self._dir: Path | None = None
        self._blobs: dict[str, bytes] = {}
        self._door: Endpoint | None = None
        self._posted: collections.deque[Control] = collections.deque()
        self._posted_fd = -1
        self.failure: ActorRLError | None = None
        self._failures: dict[tuple[str, int], ActorFailed] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._stopping = False
        self._unkillable: list[int] = []

    # ---- called by the user's thread ----------------------------------------------------

    @property
    def driver_door(self) -> Endpoint:
        """The driver's door to the actors, from `start` on."""
        assert self._door is not None
        return self._door

    def start(self) -> None:
        """Raises ProgramError for what cannot be sent to a process, before anything is started. If
        it raises anything, `stop` cleans up."""
        self._blobs = {name: _blob(self._program, name) for name in self._program.nodes}
        wanted = _DESCRIPTORS_BESIDE + _DESCRIPTORS_PER_ACTOR * len(self._blobs)
        inventory.allow_descriptors(wanted)
        self._dir = path = self.agent.open(list(self._blobs))
        self._posted_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        memory = MemoryClient(str(path / "memory"))
        self._door = Endpoint(DRIVER, 0, f"ipc://{path}/driver", memory)
        pid = self.agent.start(list(self._program.preload))
        self._event("host_started", host=HOST, pid=pid)
        super().start()

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

    def post(self, message: Control) -> None:
        """To the agent, by way of the thread; nothing happens once that has ended."""
        self._posted.append(message)
        with self._changed:
            if self._posted_fd >= 0:
                os.eventfd_write(self._posted_fd, 1)

    def stop(self, grace_s: float) -> list[int]:
        """End everything that `start` has begun, however far it came. The pids that could not be
        ended."""
        if self.is_alive():
            self.post(StopAll(grace_s))
            self.join(timeout=grace_s + _STOP_MARGIN_S)
        self.agent.end(_LEAVE_S if self._ended else 0.0)
        if self.is_alive():
            self.join(timeout=_LEAVE_S)  # the end of the agent ends it
        if self.agent.process is not None:
            self._unkillable = strays.kill_run(self._run_id, _LEAVE_S)
        self._release()
        return self._unkillable

    def _release(self) -> None:
        if self._door is not None:
            self._door.close()
        if not self.is_alive():
            self.agent.close()
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
            self.agent.kill()
            self._give_up(
                RunFailed(f"the driver's service thread failed, the run is over:\n{text}")
            )
        finally:
            self._ended = True

    def _serve(self) -> None:
        poller = zmq.Poller()
        for source in (self.agent.socket, self._posted_fd, self.agent.pidfd):
            poller.register(source, zmq.POLLIN)
        while not self._ended:
            ready = [source for source, _ in poller.poll(_TICK_MS)]
            if self._posted_fd in ready:
                self._take_from_user()
            self._take_from_agent()
            if self.agent.pidfd in ready and not self._ended:
                self._on_agent_gone()
            if self.agent.is_up:
                self._obey(self._supervisor.tick(time.monotonic()))

    def _take_from_user(self) -> None:
        os.eventfd_read(self._posted_fd)
        while self._posted:
            message = self._posted.popleft()
            if isinstance(message, StopAll):
                self._stopping = self._supervisor.stopping = True
                self.agent.terminate()
            self.agent.say(message)

    def _take_from_agent(self, timeout_ms: int = 0) -> None:
        heard = False
        for message in self.agent.heard(timeout_ms):
            self._on_agent(message)
            heard = True
        if heard:
            self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _on_agent(self, message: Control) -> None:
        now = time.monotonic()
        match message:
            case AgentHello():
                if self._stopping:
                    self.agent.say(StopAll(0.0))
            case ActorHello(name, incarnation, pid, address):
                self._obey(self._supervisor.hello(name, incarnation, pid, address))
            case ActorReady(name, incarnation):
                self._obey(self._supervisor.ready(name, incarnation, now))
                slot = self._supervisor.slots[name]
                self._event("actor_ready", actor=name, incarnation=incarnation, pid=slot.pid)
            case ActorFailed(name, incarnation):
                self._failures[(name, incarnation)] = message
            case ActorEvent(name, incarnation, event, details):
                self._event(event, actor=name, incarnation=incarnation, **details)
            case ActorSilent():
                self._on_silent(message)
            case ActorExited():
                self._on_exited(message, now)
            case AgentStopped(killed, unkillable):
                self._unkillable = unkillable
                if killed and self._stopping:
                    self._event("actors_killed", actors=killed)
                self._ended = True

    def _on_silent(self, message: ActorSilent) -> None:
        self._supervisor.silent(
            message.name, message.incarnation, message.seconds, message.at_limit
        )
        event = "actor_hung" if message.at_limit else "actor_silent"
        self._event(
            event, actor=message.name, incarnation=message.incarnation, seconds=message.seconds
        )

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

    def _on_agent_gone(self) -> None:
        self._take_from_agent(_LAST_WORDS_MS)
        if self._ended:
            return
        self._ended = True
        self._supervisor.host_lost()
        if not self._stopping:
            strays.kill_run(self._run_id, 0.0)  # they end by themselves; what they started may not
            self._give_up(self._agent_failure())
        self.driver_door.post_peers({})

    def _agent_failure(self) -> RunFailed:
        code = self.agent.process.poll() if self.agent.process is not None else None
        text = f"the agent of host {HOST} ended ({exit_code_text(code)}), and all actors with it"
        return RunFailed(text + self._log_hint(f"agent-{HOST}.log"))

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Start(name, incarnation):
                    self._start_actor(name, incarnation)
                case Kill(name, incarnation):
                    self.agent.say(KillActor(name, incarnation))
                case Announce():
                    self._announce()

    def _start_actor(self, name: str, incarnation: int) -> None:
        node = self._program.nodes[name]
        gpus = list(self._places[name].gpus)
        self.agent.say(
            StartActor(
                name, incarnation, self._blobs[name], bool(gpus), gpus, node.progress_limit_s
            )
        )
        kind = "actor_started" if incarnation == 1 else "actor_restarted"
        self._event(kind, actor=name, incarnation=incarnation, host=HOST)

    def _announce(self) -> None:
        slots = self._supervisor.slots.values()
        table = {s.name: Peer(s.incarnation, s.address, HOST) for s in slots if s.address}
        self.driver_door.post_peers(dict(table))
        table[DRIVER] = Peer(0, f"ipc://{self._dir}/driver", HOST)
        # nobody acts before everybody of the first cast can be reached
        if all(s.incarnation > 1 or s.address or s.state is SlotState.STOPPED for s in slots):
            self.agent.say(Peers(table))

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


def _blob(program: Program, name: str) -> bytes:
    """What makes the actor, for its process alone to open."""
    node = program.nodes[name]
    try:
        return bytes(cloudpickle.dumps((node.cls, node.args, node.kwargs, program.links)))
    except Exception as error:
        raise ProgramError(
            f"{name}: {node.cls.__name__} and its arguments cannot be sent to a process of their"
            f" own: {error}; make in on_start what belongs to one process"
        ) from error
