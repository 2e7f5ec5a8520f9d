"""From the driver's order to start an actor to its process: what the actor has to know, and the
thread that starts it (`starter`)."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from actorrl.runtime.running import Running
from actorrl.runtime.starter import Started, Starter
from actorrl.wire.bell import Bell
from actorrl.wire.control_messages import ActorSpec, AgentConfig, StartActor
from actorrl.wire.sockets import TcpDoor


class Orders:
    """The agent's loop's, which polls `fd`: it can be read when something was started."""

    def __init__(
        self,
        config: AgentConfig,
        agent_address: str,
        memory_address: str,
        beat_index: Callable[[str], int],
    ) -> None:
        self._bell = Bell()
        self.fd = self._bell.fd
        self._config = config
        self._agent_address = agent_address
        self._memory_address = memory_address
        self._beat_index = beat_index
        self._started: collections.deque[Started] = collections.deque()
        self._starter = Starter(config.preload, self._on_started)

    def begin(self) -> None:
        self._starter.start()

    def cancel(self) -> None:
        """Start nothing more."""
        self._starter.cancel()

    def order(self, start: StartActor) -> Running:
        """Have it started; it has no process yet."""
        log_file = Path(self._config.log_dir) / f"{start.name.replace('/', '-')}.log"
        log_start = log_file.stat().st_size if log_file.exists() else 0
        running = Running(
            start.name,
            start.incarnation,
            str(log_file),
            log_start,
            start.progress_limit_s,
            start.memory_limit,
        )
        self._starter.order(self._spec(start, running), start.fresh_interpreter)
        return running

    def _spec(self, start: StartActor, running: Running) -> ActorSpec:
        return ActorSpec(
            name=start.name,
            incarnation=start.incarnation,
            host=self._config.host,
            address=f"ipc://{self._config.socket_dir}/{running.slot}",
            agent_address=self._agent_address,
            agent_pid=os.getpid(),
            memory_address=self._memory_address,
            log_file=running.log_file,
            blob=start.blob,
            gpus=start.gpus,
            tcp=self._tcp_of(start),
            callers=start.callers,
            seen=start.seen,
            beat_index=self._beat_index(start.name),
            progress_limit_s=start.progress_limit_s,
        )

    def _tcp_of(self, start: StartActor) -> TcpDoor | None:
        """The door of an actor: like ours, with its own keys."""
        if self._config.tcp is None or start.keys is None:
            return None
        return msgspec.structs.replace(self._config.tcp, keys=start.keys, listens=start.listens)

    def _on_started(self, started: Started) -> None:
        """Called on the starter's thread."""
        self._started.append(started)
        self._bell.ring()

    def started(self) -> Iterator[Started]:
        """What has become of orders since this was asked last."""
        self._bell.hear()
        while self._started:
            yield self._started.popleft()
