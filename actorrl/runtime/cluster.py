"""The driver's side of a running Program: start it, talk to it, watch it, stop it.

    >>> from actorrl.runtime.examples import counter
    >>> with Cluster(counter.program()) as cluster:
    ...     cluster.ref("counter/0").add.call(2).result()
    5

The service thread (`service`) owns the socket to the agent and the supervisor; the user's threads
share the door to the actors. `launcher="inproc"` runs the same Program on the calling thread.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from actorrl.errors import RunFailed, WireError
from actorrl.runtime.calls import Caller
from actorrl.runtime.chronicle import Event
from actorrl.runtime.door import Door
from actorrl.runtime.host_specs import LOCAL, ClusterSpec
from actorrl.runtime.inventory import this_host
from actorrl.runtime.launch import Launcher
from actorrl.runtime.launchers.inproc import InprocWorld
from actorrl.runtime.placement import place
from actorrl.runtime.program import Program
from actorrl.runtime.refs import ActorRef
from actorrl.runtime.service import Service
from actorrl.runtime.slots import Policy, SlotState
from actorrl.runtime.supervisor import Supervisor
from actorrl.wire.control_messages import DumpStack
from actorrl.wire.messages import Kind

_ALL_START_S = 180.0  # or half as long again as one may take, if that is more
_SLICE_MS = 100  # a thread that polls lets the others at the door this often

OnReport = Callable[[str, str, Any], None]


class Cluster:
    """See the module. `on_event` hears what happens to actors and hosts, on the service thread;
    should it raise, the run is over. `on_report` hears reports, on the thread that polls. `spec`
    names the hosts, this machine alone if it is left out; `launch` starts agents on the others."""

    def __init__(
        self,
        program: Program,
        spec: ClusterSpec | None = None,
        *,
        launcher: str = "local",
        launch: Launcher | None = None,
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
        self._spec = spec or ClusterSpec()
        self._launch = launch
        self._supervisor = Supervisor(
            {name: node.restart for name, node in program.nodes.items()}, policy
        )
        self._world: InprocWorld | None = None
        self._service: Service | None = None
        self._caller: Caller | None = None
        self._door: Door | None = None
        self._refs: dict[str, ActorRef] = {}

    # ---- life ---------------------------------------------------------------------------

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self, timeout_s: float | None = None) -> None:
        """Start all actors; returns when each is ready. Raises PlacementError or ProgramError
        before anything is started, RunFailed with the one root cause if an actor cannot start."""
        if self._caller is not None:
            raise RunFailed("this cluster was started before: make a new one")
        try:
            if self._inline:
                self._start_inline()
            else:
                self._start_processes(timeout_s)
        except BaseException:
            self.stop(grace_s=1.0)
            raise

    def _start_inline(self) -> None:
        _, self.notices = place(self.program, [this_host(LOCAL)])
        self._world = InprocWorld(self.program)
        self._world.on_event = self._on_inline_event
        self._bind(self._world.driver_door)
        self._world.start()
        for name, slot in self._supervisor.slots.items():
            slot.incarnation, slot.pid = 1, os.getpid()
            slot.state = SlotState.STARTING
            self._supervisor.ready(name, 1, time.monotonic())

    def _on_inline_event(self, name: str, event: str, details: dict[str, Any]) -> None:
        self._on_event(
            {"time": time.time(), "event": event, "actor": name, "incarnation": 1, **details}
        )

    def _start_processes(self, timeout_s: float | None) -> None:
        self._service = Service(
            self.program,
            self._spec,
            self._launch,
            self.run_id,
            self._supervisor,
            self._log_dir,
            self._on_event,
        )
        try:
            self._service.start()
        except (OSError, zmq.ZMQError) as error:  # descriptors, processes, disk, memory
            raise RunFailed(f"this machine refuses what the run needs to start: {error}") from error
        self._bind(self._service.driver_door)
        if timeout_s is None:
            timeout_s = max(_ALL_START_S, 1.5 * self._supervisor.policy.start_timeout_s)
        self._service.wait_ready(timeout_s)
        self.notices = list(self._service.notices)

    def _bind(self, door: Door) -> None:
        self._door = door
        self._caller = Caller(door)
        door.on_peers = self._caller.peers_changed
        self._caller.check = self.check
        for name, ref in self.program.refs.items():
            ref.bind(self._caller)
            self._refs[name] = own = ActorRef(name, self.program.nodes[name].cls)
            own.bind(self._caller)

    def stop(self, grace_s: float | None = None) -> list[int]:
        """Stop everything: actors have `grace_s` seconds for their `on_stop` (None: what the host
        list's `failure` says), then they are killed. Returns the pids that could not be ended
        (normally none). Idempotent."""
        world, self._world = self._world, None
        service, self._service = self._service, None
        left: list[int] = []
        try:
            if world is not None:
                world.stop()
                self._supervisor.all_lost()
        finally:
            if self._caller is not None:
                self._caller.close()
            if service is not None:
                left = service.stop(self._spec.failure.grace_s if grace_s is None else grace_s)
        return left

    def kill(self) -> list[int]:
        """Stop everything now."""
        return self.stop(grace_s=0.0)

    # ---- talking ------------------------------------------------------------------------

    def ref(self, name: str) -> ActorRef:
        """The reference to a slot, such as `rollout/3`."""
        return self._refs.get(name) or self.program.refs[name]

    def poll(self, timeout_s: float = 0.0) -> None:
        """Take answers and reports that have come, waiting at most `timeout_s` for the first; in
        one process, also run every actor a round. Raises RunFailed when the run is over."""
        assert self._caller is not None, "start it first"
        deadline = time.monotonic() + timeout_s
        while True:
            remaining_ms = max(0.0, (deadline - time.monotonic()) * 1000)
            messages = self._caller.receive(int(min(_SLICE_MS, remaining_ms)))
            for message in messages:
                if message.kind is Kind.REPORT:
                    self._on_report(message.name, message.source, message.body)
            if messages or remaining_ms < 1 or self._inline:
                return

    def check(self) -> None:
        """Raise RunFailed, with the one root cause, if the run is over."""
        if self._service is not None and self._service.failure is not None:
            raise self._service.failure

    def block_reader(self, link: str) -> Any:
        """The driver's view of a state link: `.version`, `.read()`."""
        assert self._door is not None, "start it first"
        if self._service is None:
            return self._door.block_reader(link)
        return _LocalState(self._door, self._service, link)

    # ---- looking ------------------------------------------------------------------------

    def status(self) -> list[dict[str, Any]]:
        """A row per actor, agents included: name, role, host, pid, state, incarnation, restarts,
        last_error."""
        rows = [] if self._service is None else self._service.fleet.rows()
        return rows + self._supervisor.rows()

    def hosts(self) -> list[dict[str, Any]]:
        """A row per host: host, state, losses, cpu, memory (parts of 1), last_error."""
        return [] if self._service is None else self._service.fleet.health()

    def num_restarts(self) -> int:
        return sum(slot.restarts for slot in self._supervisor.slots.values())

    def num_ready(self, role: str) -> int:
        return sum(
            slot.state is SlotState.READY
            for name, slot in self._supervisor.slots.items()
            if name.partition("/")[0] == role
        )

    def traffic(self) -> dict[str, dict[str, int]]:
        """By role, what went to and came from other hosts (`Endpoint.metrics`); agents pass weights
        on. Empty where there is one host."""
        return {} if self._service is None else self._service.traffic.network()

    def drops(self) -> dict[str, dict[str, int]]:
        """By role, what was dropped or lost since the start, and for which reason; what never
        happened is left out. Other processes tell it every few seconds."""
        if self._world is not None:
            return self._world.drops()
        return {} if self._service is None else self._service.traffic.drops()

    def dump_stack(self, name: str) -> None:
        """Have the actor write the stacks of its threads into its log."""
        if self._service is not None:
            self._service.say(name, DumpStack(name))


class _LocalState:
    """A state link in the memory of the own host's agent, whichever incarnation of it has it."""

    def __init__(self, door: Door, service: Service, link: str) -> None:
        self._door = door
        self._service = service
        self._link = link
        self._incarnation = 0
        self._block: Any = None

    @property
    def version(self) -> int:
        """The newest; 0 while the agent has none."""
        try:
            return int(self._current().version)
        except WireError:  # it is being started again
            return 0

    @property
    def epoch(self) -> int:
        """That of the newest version; 0 while the agent has none."""
        try:
            return int(self._current().epoch)
        except WireError:
            return 0

    def read(self) -> Any:
        """The newest version and its arrays. Raises WireError while `version` is 0."""
        return self._current().read()

    def _current(self) -> Any:
        incarnation = self._service.local_incarnation
        if self._block is None or incarnation != self._incarnation:
            self._block = self._door.block_reader(self._link)
            self._incarnation = incarnation
        return self._block
