"""The hosts of a run as the driver has them: their agents' processes, keys and addresses.

The own host is always there, since the driver reads versioned state out of its agent's memory;
whether it carries actors is the host list's to say. Other hosts are made ready by threads
(`agent_processes`), and the service thread hears of it.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from actorrl.errors import HostError
from actorrl.runtime import memory_limits
from actorrl.runtime.agent_processes import AgentProcesses
from actorrl.runtime.failure import exit_code_text
from actorrl.runtime.host_specs import LOCAL, ClusterSpec, HostSpec
from actorrl.runtime.host_states import HostPolicy, HostTable
from actorrl.runtime.inventory import this_host
from actorrl.runtime.launch import AgentProcess, Launcher, Prepared, has_lost_line
from actorrl.runtime.launchers.local import LocalAgentProcess
from actorrl.runtime.offers import offers
from actorrl.runtime.placement import Host
from actorrl.runtime.switchboard import Switchboard
from actorrl.wire.control_messages import AgentConfig, AgentHello, Beat, Control
from actorrl.wire.keys import KeyPair
from actorrl.wire.sockets import TcpDoor

_LOOPBACK = "127.0.0.1"


@dataclasses.dataclass
class AgentState:
    """One host's agent, this incarnation of it."""

    spec: HostSpec
    incarnation: int = 0
    keys: KeyPair | None = None
    process: AgentProcess | None = None
    hello: AgentHello | None = None
    beat: Beat | None = None
    over: bool = False  # it has said that all of its actors are gone


class Fleet:
    """See the module. `open`, the first `start` and `close` are the user's thread's, the rest the
    service thread's. `post` hands an action to that thread."""

    def __init__(
        self,
        run_id: str,
        spec: ClusterSpec,
        launch: Launcher | None,
        log_dir: Path | None,
        post: Callable[[Callable[[], None]], None],
    ) -> None:
        self.spec = spec
        self.several = bool(spec.remote_hosts)
        self.keys = KeyPair.new()  # the driver's, for this run
        self._run_id = run_id
        self._launch = launch
        self._log_dir = log_dir
        self.post = post
        failure = spec.failure
        self.table = HostTable(
            LOCAL,
            [host.name for host in spec.remote_hosts],
            HostPolicy(down_s=failure.node_timeout_s, local_down_s=failure.lease_s),
        )
        hosts = {host.name: host for host in spec.hosts}
        hosts.setdefault(LOCAL, HostSpec(name=LOCAL))
        self.agents = {name: AgentState(hosts[name]) for name in self.table.hosts}
        # set by the service thread: (host, incarnation, what went wrong)
        self.on_launched: Callable[[str, int, HostError | None], None] = lambda *_: None
        self.board: Switchboard | None = None
        self._processes = AgentProcesses(run_id, launch)
        self._directory: Path | None = None
        self._base: AgentConfig | None = None

    @functools.cached_property
    def _here(self) -> Host:
        return this_host(LOCAL)

    # ---- the user's thread --------------------------------------------------------------

    def open(self, directory: Path, preload: list[str], slots: list[str]) -> None:
        self._directory = directory
        self.board = Switchboard(directory, self.door(self.keys) if self.several else None)
        self._base = AgentConfig(
            run_id=self._run_id,
            host=LOCAL,
            incarnation=0,
            driver_address=self.board.address,
            beat_address=self.board.beat_address,
            log_dir=str((self._log_dir or directory).absolute()),
            preload=preload,
            slots=slots,
            expects_actors=not self.several,
            lease_s=self.spec.failure.lease_s,
        )

    def door(self, keys: KeyPair, host: str = LOCAL) -> TcpDoor:
        """How processes of a host listen to other hosts."""
        network = self.spec.network
        bind = _LOOPBACK
        if self._launch is not None and network.security == "curve":
            bind = self._launch.bind(host)
        return TcpDoor(keys=keys, bind=bind, ports=network.ports, security=network.security)

    def way(self, viewer: str, host: str, tcp: str) -> str:
        """A listener of `host`, as `viewer` dials it; empty where nothing leads there."""
        if not tcp or viewer == host or self._launch is None:
            return tcp
        return self._launch.way(viewer, host, int(tcp.rpartition(":")[2]))

    def close(self, patience_s: float) -> None:
        """End every agent that is still there, or on its way."""
        self._processes.close(patience_s)

    def close_sockets(self) -> None:
        if self.board is not None:
            self.board.close()

    @property
    def driver_address(self) -> str:
        """The driver's inbox, for actors of its own host."""
        return f"ipc://{self._directory}/driver"

    def say(self, host: str, message: Control) -> bool:
        """False if its agent is not up, or cannot be reached now."""
        return self.board is not None and self.board.say(host, message)

    # ---- starting agents ----------------------------------------------------------------

    def start(self, name: str, incarnation: int) -> None:
        """Raises OSError where the own host's agent cannot be started."""
        agent = self.agents[name]
        self.agents[name] = fresh = AgentState(agent.spec, incarnation, KeyPair.new())
        self._admit()
        config = functools.partial(self._config, fresh)
        if name == LOCAL:
            assert self._directory is not None
            process = LocalAgentProcess(self._run_id, LOCAL, self._log_dir or self._directory)
            prepared = Prepared(process, "")
            self._processes.start(name, prepared, config)
            self._on_prepared(fresh, prepared)
        else:
            self._processes.prepare(
                fresh.spec,
                config,
                lambda found: self.post(functools.partial(self._on_prepared, fresh, found)),
            )

    def _on_prepared(self, agent: AgentState, found: Prepared | HostError) -> None:
        name = agent.spec.name
        if isinstance(found, HostError):
            self.on_launched(name, agent.incarnation, found)
        elif self.agents[name] is not agent:  # given up meanwhile
            found.process.close()
        else:
            agent.process = found.process
            self.on_launched(name, agent.incarnation, None)

    def _config(self, agent: AgentState, prepared: Prepared) -> AgentConfig:
        assert self._base is not None and self._directory is not None and self.board is not None
        replace = msgspec.structs.replace
        name = agent.spec.name
        own_door = None
        if self.several and agent.keys is not None:
            own_door = self.door(agent.keys, name)
        base = replace(self._base, host=name, incarnation=agent.incarnation, tcp=own_door)
        base.memory_limit = memory_limits.said(agent.spec)
        if agent.spec.is_local:
            return replace(base, driver_pid=os.getpid(), socket_dir=str(self._directory))
        assert self._launch is not None
        return replace(
            base,
            driver_address=self._launch.way(name, LOCAL, self.board.tcp_port),
            beat_address=self._launch.way(name, LOCAL, self.board.tcp_beat_port),
            driver_key=self.keys.public,
            log_dir=prepared.log_dir,
        )

    # ---- the life of an agent -----------------------------------------------------------

    def _admit(self) -> None:
        assert self.board is not None
        self.board.admit(
            {
                name: (agent.incarnation, agent.keys.public)
                for name, agent in self.agents.items()
                if agent.keys is not None
            }
        )

    def heard_hello(self, name: str, hello: AgentHello) -> None:
        self.agents[name].hello = hello

    def heard_beat(self, beat: Beat) -> None:
        self.agents[beat.host].beat = beat

    def fence(self, name: str) -> None:
        """Hear and carry nothing of that agent any more, and end it."""
        old = self.agents[name]
        self.agents[name] = AgentState(old.spec, old.incarnation)
        self._admit()
        if old.process is not None:
            old.process.kill()
            threading.Thread(target=old.process.close, name=f"end {name}", daemon=True).start()

    def ended(self, name: str) -> str | None:
        """Why its agent's process has ended; None while it runs, or while nothing is known but that
        its connection is lost: then its beats decide."""
        agent = self.agents[name]
        code = agent.process.poll() if agent.process is not None else None
        if agent.process is None or code is None or (code < 0 and has_lost_line(agent.process)):
            return None
        has_reason = agent.hello is None or code > 0  # it was up, and has failed
        lines = agent.process.stderr_tail().splitlines() if has_reason else []
        said = f": {lines[-1]}" if lines else ""
        return f"its agent ended ({exit_code_text(code if code != -1 else None)}){said}"

    # ---- what is there ------------------------------------------------------------------

    @property
    def driver_memory_limit(self) -> int:
        return memory_limits.driver_limit(self._here, self.agents[LOCAL].spec)

    def found(self, names: list[str]) -> list[Host]:
        """What these hosts offer to actors."""
        counted = {}
        for name in names:
            hello = self.agents[name].hello
            if name == LOCAL:
                counted[name] = self._here
            elif hello is not None:
                counted[name] = Host(name, hello.num_cpus, hello.memory_bytes, tuple(hello.gpus))
        return offers(self.spec, counted)

    def rows(self) -> list[dict[str, Any]]:
        """The agents' rows of the run's status."""
        return [self._row(name, agent) for name, agent in self.agents.items()]

    def health(self) -> list[dict[str, Any]]:
        """A row per host: state, how often it was lost, and the parts of its cores and of its
        memory that are in use. Any thread."""
        rows = []
        for name, agent in self.agents.items():
            host, beat = self.table.hosts[name], agent.beat
            cpu, memory = (beat.cpu, beat.memory) if beat is not None else (0.0, 0.0)
            row = {"host": name, "state": str(host.state), "cpu": cpu, "memory": memory}
            rows.append({**row, "losses": host.times_lost, "last_error": host.error})
        return rows

    def _row(self, name: str, agent: AgentState) -> dict[str, Any]:
        host = self.table.hosts[name]
        alive = agent.process is not None and agent.process.poll() is None
        return {
            "name": f"agent/{name}",
            "role": "agent",
            "host": name,
            "pid": agent.process.pid if agent.process is not None and alive else None,
            "state": str(host.state),
            "incarnation": host.incarnation,
            "restarts": max(0, host.incarnation - 1),
            "last_error": host.error,
        }
