"""The driver's thread that keeps a run alive: it owns the agent's process and the socket to it, and
does what the supervisor says. Whatever goes wrong in it ends the run with a message.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import subprocess
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import zmq

from actorrl.errors import ActorRLError, ProgramError, RunFailed, WireError
from actorrl.runtime import causes, inventory, run_directory, strays
from actorrl.runtime.failure import exit_code_text
from actorrl.runtime.launchers.local import start_agent
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
from actorrl.wire import sockets
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.messages import (
    ActorExited,
    ActorFailed,
    ActorHello,
    ActorReady,
    AgentConfig,
    AgentHello,
    AgentStopped,
    Control,
    KillActor,
    Peer,
    Peers,
    StartActor,
    StopAll,
    decode_control,
    encode_control,
)
from actorrl.wire.shared_memory import MemoryClient

HOST = "local"
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
        self._dir: Path | None = None
        self._blobs: dict[str, bytes] = {}
        self._context: zmq.Context | None = None
        self._agents: zmq.Socket
        self._door: Endpoint | None = None
        self._agent: subprocess.Popen[bytes] | None = None
        self._agent_route: bytes | None = None
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
        self._dir = path = run_directory.make(self._run_id, list(self._blobs))
        self._posted_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._context = sockets.new_context()
        self._agents = sockets.router(self._context, f"ipc://{path}/driver.ctl")
        memory = MemoryClient(str(path / "memory"))
        self._door = Endpoint(DRIVER, 0, f"ipc://{path}/driver", memory)
        self._start_agent(path, self._log_dir or path)
        super().start()

    def _start_agent(self, path: Path, log_dir: Path) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self._agent = start_agent(
            AgentConfig(
                run_id=self._run_id,
                host=HOST,
                driver_pid=os.getpid(),
                driver_address=f"ipc://{path}/driver.ctl",
                socket_dir=str(path),
                log_dir=str(log_dir.absolute()),
                preload=list(self._program.preload),
            )
        )
        self._event("host_started", host=HOST, pid=self._agent.pid)

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
        self._end_agent()
        if self.is_alive():
            self.join(timeout=_LEAVE_S)  # the end of the agent ends it
        if self._agent is not None:
            self._unkillable = strays.kill_run(self._run_id, _LEAVE_S)
        self._release()
        return self._unkillable

    def _end_agent(self) -> None:
        if self._agent is None:
            return
        try:
            self._agent.wait(timeout=_LEAVE_S if self._ended else 0.0)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()

    def _release(self) -> None:
        if self._door is not None:
            self._door.close()
        if self._context is not None and not self.is_alive():
            self._context.destroy(linger=0)
        with self._changed:
            if self._posted_fd >= 0:
                os.close(self._posted_fd)
                self._posted_fd = -1
        if self._dir is not None:
            shutil.rmtree(self._dir, ignore_errors=True)

    def agent_rows(self) -> list[dict[str, Any]]:
        alive = self._agent is not None and self._agent.poll() is None
        return [
            {
                "name": f"agent/{HOST}",
                "role": "agent",
                "host": HOST,
                "pid": self._agent.pid if self._agent is not None and alive else None,
                "state": str(SlotState.READY if alive else SlotState.STOPPED),
                "incarnation": 1,
                "restarts": 0,
                "last_error": None,
            }
        ]

    # ---- the thread ---------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._serve()
        except BaseException:
            text = traceback.format_exc()
            if self._agent is not None:
                self._agent.kill()  # nobody hears it any more; its actors go with it
            self._give_up(
                RunFailed(f"the driver's service thread failed, the run is over:\n{text}")
            )
        finally:
            self._ended = True

    def _serve(self) -> None:
        assert self._agent is not None
        poller = zmq.Poller()
        pidfd = os.pidfd_open(self._agent.pid)
        try:
            for source in (self._agents, self._posted_fd, pidfd):
                poller.register(source, zmq.POLLIN)
            while not self._ended:
                ready = [source for source, _ in poller.poll(_TICK_MS)]
                if self._posted_fd in ready:
                    self._take_from_user()
                self._take_from_agent()
                if pidfd in ready and not self._ended:
                    self._on_agent_gone()
                if self._agent_route is not None:
                    self._obey(self._supervisor.tick(time.monotonic()))
        finally:
            os.close(pidfd)

    def _take_from_user(self) -> None:
        os.eventfd_read(self._posted_fd)
        while self._posted:
            message = self._posted.popleft()
            if isinstance(message, StopAll):
                self._stopping = self._supervisor.stopping = True
                if self._agent_route is None and self._agent is not None:
                    self._agent.terminate()
            self._tell_agent(message)

    def _take_from_agent(self) -> None:
        heard = False
        with contextlib.suppress(zmq.Again):
            while True:
                route, *_, frame = self._agents.recv_multipart(zmq.NOBLOCK)
                with contextlib.suppress(WireError):
                    self._on_agent(route, decode_control(frame))
                heard = True
        if heard:
            self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _on_agent(self, route: bytes, message: Control) -> None:
        now = time.monotonic()
        match message:
            case AgentHello():
                self._agent_route = route
                if self._stopping:
                    self._tell_agent(StopAll(0.0))
            case ActorHello(name, incarnation, pid, address):
                self._obey(self._supervisor.hello(name, incarnation, pid, address))
            case ActorReady(name, incarnation):
                self._obey(self._supervisor.ready(name, incarnation, now))
                slot = self._supervisor.slots[name]
                self._event("actor_ready", actor=name, incarnation=incarnation, pid=slot.pid)
            case ActorFailed(name, incarnation):
                self._failures[(name, incarnation)] = message
            case ActorExited():
                self._on_exited(message, now)
            case AgentStopped(killed, unkillable):
                self._unkillable = unkillable
                if killed and self._stopping:
                    self._event("actors_killed", actors=killed)
                self._ended = True

    def _on_exited(self, message: ActorExited, now: float) -> None:
        name, incarnation = message.name, message.incarnation
        failed = self._failures.pop((name, incarnation), None)
        slot = self._supervisor.slots[name]
        reason = slot.verdict or causes.reason(message, failed)
        if not self._stopping or failed is not None:
            self._event(
                "actor_exited", actor=name, incarnation=incarnation, pid=slot.pid, reason=reason
            )
        fatal = failed is not None and failed.fatal
        commands = self._supervisor.exited(name, incarnation, message.code, reason, fatal, now)
        for command in commands:
            if isinstance(command, Fail):
                hint = self._log_hint(f"{name.replace('/', '-')}.log")
                self._give_up(causes.root_cause(command, message, failed, hint))
        self._obey(commands)

    def _on_agent_gone(self) -> None:
        if self._agents.poll(_LAST_WORDS_MS):
            self._take_from_agent()
        if self._ended:
            return
        self._ended = True
        self._supervisor.host_lost()
        if not self._stopping:
            strays.kill_run(self._run_id, 0.0)  # they end by themselves; what they started may not
            self._give_up(self._agent_failure())
        self.driver_door.post_peers({})

    def _agent_failure(self) -> RunFailed:
        code = self._agent.poll() if self._agent is not None else None
        text = f"the agent of host {HOST} ended ({exit_code_text(code)}), and all actors with it"
        return RunFailed(text + self._log_hint(f"agent-{HOST}.log"))

    def _obey(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Start(name, incarnation):
                    self._start_actor(name, incarnation)
                case Kill(name, incarnation):
                    self._tell_agent(KillActor(name, incarnation))
                case Announce():
                    self._announce()

    def _start_actor(self, name: str, incarnation: int) -> None:
        node = self._program.nodes[name]
        gpus = list(self._places[name].gpus)
        self._tell_agent(StartActor(name, incarnation, self._blobs[name], bool(node.gpu), gpus))
        kind = "actor_started" if incarnation == 1 else "actor_restarted"
        self._event(kind, actor=name, incarnation=incarnation, host=HOST)

    def _announce(self) -> None:
        slots = self._supervisor.slots.values()
        table = {s.name: Peer(s.incarnation, s.address, HOST) for s in slots if s.address}
        self.driver_door.post_peers(dict(table))
        table[DRIVER] = Peer(0, f"ipc://{self._dir}/driver", HOST)
        # nobody acts before everybody of the first cast can be reached
        if all(s.incarnation > 1 or s.address or s.state is SlotState.STOPPED for s in slots):
            self._tell_agent(Peers(table))

    def _tell_agent(self, message: Control) -> None:
        if self._agent_route is not None:
            with contextlib.suppress(zmq.ZMQError):
                self._agents.send_multipart([self._agent_route, encode_control(message)])

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
