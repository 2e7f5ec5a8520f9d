"""The driver's side of a running Program: start it, talk to it, watch it, stop it.

    >>> from actorrl.runtime import example_counter as example
    >>> with Cluster(example.program()) as cluster:
    ...     cluster.ref("counter/0").add.call(2).result()
    5

The service thread owns the sockets to the agents and the supervisor; the user's threads own the
door to the actors. `launcher="inproc"` runs the same Program on the calling thread.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import zmq

from actorrl.errors import ActorRLError, EnvironmentFailure, RunFailed
from actorrl.runtime.calls import Caller
from actorrl.runtime.inventory import this_host
from actorrl.runtime.launchers.inproc import InprocWorld
from actorrl.runtime.launchers.local import start_agent
from actorrl.runtime.placement import Place, place
from actorrl.runtime.program import Program
from actorrl.runtime.refs import DRIVER, ActorRef
from actorrl.runtime.supervisor import (
    Announce,
    Command,
    Fail,
    Kill,
    Policy,
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
    DumpStack,
    Kind,
    Message,
    Peer,
    Peers,
    StartActor,
    StopAll,
    decode_control,
    encode_control,
)
from actorrl.wire.messages import KillActor as KillMessage
from actorrl.wire.shared_memory import MemoryClient

HOST = "local"
_TICK_MS = 50
_START_TIMEOUT_S = 180.0
_STOP_MARGIN_S = 8.0

Event = dict[str, Any]
OnReport = Callable[[str, str, Any], None]


class Cluster:
    """See the module. `on_event` hears what happens to actors and hosts, on the service thread."""

    def __init__(
        self,
        program: Program,
        *,
        launcher: str = "local",
        log_dir: str | Path | None = None,
        on_event: Callable[[Event], None] | None = None,
        on_report: OnReport | None = None,
        policy: Policy | None = None,
        run_id: str | None = None,
    ) -> None:
        if launcher not in ("local", "inproc"):
            raise ValueError(f"launcher is {launcher!r}, it must be 'local' or 'inproc'")
        self.program = program
        self.run_id = run_id or secrets.token_hex(8)
        self.notices: list[str] = []
        self._inline = launcher == "inproc"
        self._log_dir = Path(log_dir) if log_dir is not None else None
        self._on_event = on_event or (lambda event: None)
        self._on_report = on_report or (lambda link, source, body: None)
        self._supervisor = Supervisor(
            {name: node.restart for name, node in program.nodes.items()}, policy
        )
        self._world: InprocWorld | None = None
        self._service: _Service | None = None
        self._caller: Caller | None = None
        self._door: Any = None

    # ---- life ---------------------------------------------------------------------------

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self, timeout_s: float = _START_TIMEOUT_S) -> None:
        """Start all actors; returns when each is ready. Raises PlacementError before anything is
        started, RunFailed with the one root cause if an actor cannot start."""
        places, self.notices = place(self.program, [this_host(HOST)])
        try:
            if self._inline:
                self._start_inline()
            else:
                self._start_processes(places, timeout_s)
        except BaseException:
            self.stop(grace_s=1.0)
            raise

    def _start_inline(self) -> None:
        self._world = InprocWorld(self.program)
        self._door = self._world.driver_door
        self._bind(Caller(self._door))
        self._world.start()
        for name, slot in self._supervisor.slots.items():
            slot.incarnation, slot.pid = 1, os.getpid()
            self._supervisor.ready(name, 1, time.monotonic())

    def _start_processes(self, places: dict[str, Place], timeout_s: float) -> None:
        self._service = _Service(
            self.program, places, self.run_id, self._supervisor, self._log_dir, self._on_event
        )
        self._door = self._service.driver_door
        self._bind(Caller(self._door))
        self._service.start()
        self._service.wait_ready(timeout_s)
        self._door.receive(0)  # take the table of peers

    def _bind(self, caller: Caller) -> None:
        self._caller = caller
        self._door.on_peers = caller.peers_changed
        caller.check = self.check
        for ref in self.program.refs.values():
            ref.bind(caller)

    def stop(self, grace_s: float = 10.0) -> list[int]:
        """Stop everything: actors have `grace_s` seconds for their `on_stop`, then they are killed.
        Returns the pids that could not be ended (normally none). Idempotent."""
        if self._world is not None:
            self._world.stop()
            self._world = None
        if self._service is not None:
            service, self._service = self._service, None
            return service.stop(grace_s)
        return []

    def kill(self) -> list[int]:
        """Stop everything now."""
        return self.stop(grace_s=0.0)

    # ---- talking ------------------------------------------------------------------------

    def ref(self, name: str) -> ActorRef:
        """The reference to a slot, such as `rollout/3`."""
        return self.program.refs[name]

    def poll(self, timeout_s: float = 0.0) -> None:
        """Take answers and reports that have come; in one process, also run every actor a round.
        Raises RunFailed when the run is over."""
        self.check()
        if self._world is not None:
            self._world.turn()
        assert self._caller is not None
        for message in self._door.receive(int(timeout_s * 1000)):
            self._take(message)

    def _take(self, message: Message) -> None:
        assert self._caller is not None
        if message.kind is Kind.REPORT:
            self._on_report(message.name, message.source, message.body)
        else:
            self._caller.handle(message)

    def check(self) -> None:
        """Raise RunFailed, with the one root cause, if the run is over."""
        if self._service is not None and self._service.failure is not None:
            raise self._service.failure

    def block_reader(self, link: str) -> Any:
        """The driver's view of a state link: `.version`, `.read()`."""
        return self._door.block_reader(link)

    # ---- looking ------------------------------------------------------------------------

    def status(self) -> list[dict[str, Any]]:
        """A row per actor, agents included: name, role, host, pid, state, incarnation, restarts,
        last_error."""
        rows = [] if self._service is None else self._service.agent_rows()
        for slot in self._supervisor.slots.values():
            rows.append(
                {
                    "name": slot.name,
                    "role": slot.name.partition("/")[0],
                    "host": HOST,
                    "pid": slot.pid,
                    "state": str(slot.state),
                    "incarnation": slot.incarnation,
                    "restarts": slot.restarts,
                    "last_error": slot.last_error,
                }
            )
        return rows

    def num_restarts(self) -> int:
        return sum(slot.restarts for slot in self._supervisor.slots.values())

    def num_ready(self, role: str) -> int:
        return sum(
            slot.state is SlotState.READY
            for name, slot in self._supervisor.slots.items()
            if name.partition("/")[0] == role
        )

    def dump_stack(self, name: str) -> None:
        """Have the actor write the stacks of its threads into its log."""
        if self._service is not None:
            self._service.post(DumpStack(name))


class _Service(threading.Thread):
    """The driver's thread that keeps the run alive. Owns the agent's process and its socket."""

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
        self._on_event = on_event
        self._dir = _socket_dir(run_id)
        self._log_dir = log_dir or self._dir
        self._blobs = {
            name: cloudpickle.dumps((node.cls, node.args, node.kwargs, program.links))
            for name, node in program.nodes.items()
        }
        self._context = zmq.Context()
        self._agents = sockets.router(self._context, f"ipc://{self._dir}/driver.ctl")
        self._inproc_in = self._context.socket(zmq.PULL)
        self._inproc_in.bind("inproc://service")
        self._inproc_lock = threading.Lock()
        self._inproc_out = self._context.socket(zmq.PUSH)
        self._inproc_out.connect("inproc://service")
        memory = MemoryClient(str(self._dir / "memory"))
        self.driver_door = Endpoint(DRIVER, 0, f"ipc://{self._dir}/driver", memory)
        self.failure: ActorRLError | None = None
        self._failures: dict[tuple[str, int], ActorFailed] = {}
        self._agent: subprocess.Popen[bytes] | None = None
        self._agent_route: bytes | None = None
        self._changed = threading.Condition()
        self._ended = False
        self._stopping = False
        self._unkillable: list[int] = []

    # ---- called by the user's thread ----------------------------------------------------

    def start(self) -> None:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self._agent = start_agent(
            AgentConfig(
                run_id=self._run_id,
                host=HOST,
                driver_pid=os.getpid(),
                driver_address=f"ipc://{self._dir}/driver.ctl",
                socket_dir=str(self._dir),
                log_dir=str(self._log_dir),
                preload=list(self._program.preload),
            )
        )
        self._event("host_started", host=HOST, pid=self._agent.pid)
        super().start()

    def wait_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not self._supervisor.all_ready:
                if self.failure is not None:
                    raise self.failure
                if not self._changed.wait(min(1.0, max(0.0, deadline - time.monotonic()))):
                    if time.monotonic() >= deadline:
                        raise RunFailed(self._not_ready(timeout_s))

    def _not_ready(self, timeout_s: float) -> str:
        late = [s.name for s in self._supervisor.slots.values() if s.state is not SlotState.READY]
        return f"not ready within {timeout_s:g} s: {', '.join(late)}; their logs: {self._log_dir}"

    def post(self, message: Control) -> None:
        with self._inproc_lock:
            self._inproc_out.send(encode_control(message))

    def stop(self, grace_s: float) -> list[int]:
        if self.is_alive():
            self.post(StopAll(grace_s))
            self.join(timeout=grace_s + _STOP_MARGIN_S)
        if self._agent is not None and self._agent.poll() is None:
            try:
                self._agent.wait(timeout=2.0)
            except subprocess.TimeoutExpired:
                self._agent.kill()
                self._agent.wait()
        self.driver_door.close()
        if not self.is_alive():
            self._inproc_out.close(linger=0)
            self._context.term()
        shutil.rmtree(self._dir, ignore_errors=True)
        return self._unkillable

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
        poller = zmq.Poller()
        assert self._agent is not None
        pidfd = os.pidfd_open(self._agent.pid)
        for source in (self._agents, self._inproc_in, pidfd):
            poller.register(source, zmq.POLLIN)
        while not self._ended:
            for source, _ in poller.poll(_TICK_MS):
                if source is self._agents:
                    self._take_from_agents()
                elif source is self._inproc_in:
                    self._take_from_user()
                else:
                    poller.unregister(pidfd)
                    self._on_agent_gone()
            if self._agent_route is not None:
                self._obey(self._supervisor.tick(time.monotonic()))
        os.close(pidfd)
        self._agents.close(linger=500)
        self._inproc_in.close(linger=0)

    def _take_from_user(self) -> None:
        message = decode_control(self._inproc_in.recv())
        if isinstance(message, StopAll):
            self._stopping = self._supervisor.stopping = True
            if self._agent_route is None and self._agent is not None:
                self._agent.terminate()
        self._tell_agent(message)

    def _take_from_agents(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                route, frame = self._agents.recv_multipart(zmq.NOBLOCK)
                self._on_agent(route, decode_control(frame))
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
        failed = self._failures.get((name, incarnation))
        reason = _reason(message, failed)
        pid = self._supervisor.slots[name].pid
        if not self._stopping:
            self._event(
                "actor_exited", actor=name, incarnation=incarnation, pid=pid, reason=reason
            )
        fatal = failed is not None and failed.fatal
        self._obey(
            self._supervisor.exited(name, incarnation, message.code, reason, fatal, now), message
        )

    def _on_agent_gone(self) -> None:
        if not self._stopping:
            code = self._agent.poll() if self._agent is not None else None
            log = self._log_dir / f"agent-{HOST}.log"
            self._fail(RunFailed(f"the agent of host {HOST} ended ({_code_text(code)}): see {log}"))
        self._ended = True

    def _obey(self, commands: list[Command], cause: ActorExited | None = None) -> None:
        for command in commands:
            match command:
                case Start(name, incarnation):
                    self._start_actor(name, incarnation)
                case Kill(name, incarnation):
                    self._tell_agent(KillMessage(name, incarnation))
                case Announce():
                    self._announce()
                case Fail(reason, slot):
                    self._fail(self._root_cause(reason, slot, cause))

    def _start_actor(self, name: str, incarnation: int) -> None:
        node = self._program.nodes[name]
        gpus = list(self._places[name].gpus)
        self._tell_agent(
            StartActor(name, incarnation, self._blobs[name], bool(node.gpu), gpus)
        )
        kind = "actor_started" if incarnation == 1 else "actor_restarted"
        self._event(kind, actor=name, incarnation=incarnation, host=HOST)

    def _announce(self) -> None:
        table = {
            slot.name: Peer(slot.incarnation, slot.address, HOST)
            for slot in self._supervisor.slots.values()
            if slot.address
        }
        self.driver_door.post_peers(dict(table))
        table[DRIVER] = Peer(0, f"ipc://{self._dir}/driver", HOST)
        # nobody acts before everybody of the first cast can be reached
        if all(slot.incarnation > 1 or slot.address for slot in self._supervisor.slots.values()):
            self._tell_agent(Peers(table))

    def _root_cause(self, reason: str, slot: str, cause: ActorExited | None) -> ActorRLError:
        failed = (
            self._failures.get((cause.name, cause.incarnation)) if cause is not None else None
        )
        if failed is not None and failed.type_name == EnvironmentFailure.__name__:
            return EnvironmentFailure(failed.message, failed.user_traceback)
        log = self._log_dir / f"{slot.replace('/', '-')}.log"
        detail = failed.traceback if failed is not None else cause.log_tail if cause else ""
        tail = "\n".join(detail.strip().splitlines()[-12:])
        return RunFailed(f"{slot} failed for good: {reason}\n{tail}\n  its log: {log}")

    def _fail(self, failure: ActorRLError) -> None:
        if self.failure is None:
            self.failure = failure
            self._event("run_failed", reason=str(failure).splitlines()[0])
        with self._changed:
            self._changed.notify_all()
        self.driver_door.wake()

    def _tell_agent(self, message: Control) -> None:
        if self._agent_route is not None:
            with contextlib.suppress(zmq.ZMQError):
                self._agents.send_multipart([self._agent_route, encode_control(message)])

    def _event(self, event: str, **details: Any) -> None:
        self._on_event({"time": time.time(), "event": event, **details})


def _socket_dir(run_id: str) -> Path:
    """A directory that only this user can enter: nobody else reaches the sockets in it."""
    base = Path(tempfile.gettempdir()) / f"actorrl-{os.getuid()}"
    base.mkdir(mode=0o700, exist_ok=True)
    if base.stat().st_uid != os.getuid() or base.stat().st_mode & 0o077:
        raise RunFailed(f"{base} is not a directory of this user alone: remove it")
    path = base / run_id
    path.mkdir(mode=0o700)
    return path


def _reason(message: ActorExited, failed: ActorFailed | None) -> str:
    if failed is not None:
        first_line = failed.message.splitlines()[0] if failed.message else ""
        return f"{failed.type_name}: {first_line}"
    return _code_text(message.code)


def _code_text(code: int | None) -> str:
    if code is None:
        return "unknown cause"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"killed by signal {-code}"
