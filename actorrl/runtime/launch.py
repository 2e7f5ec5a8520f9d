"""What the driver needs of whoever starts agents; `launchers` has those who do."""

from __future__ import annotations

import collections
import dataclasses
from typing import Protocol, runtime_checkable

from actorrl.runtime.host_specs import HostSpec


class AgentProcess(Protocol):
    """One agent, on this machine or another. `start` once, then any thread may call the rest."""

    @property
    def pid(self) -> int | None: ...
    def start(self, config: bytes) -> None:
        """Start it and hand it its configuration. Raises HostError, OSError."""

    def fileno(self) -> int:
        """Can be read when it, or the connection to it, has ended."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs; -1 when nothing but the end is known."""

    def wait(self, timeout_s: float) -> int | None:
        """The same, after so many seconds at most."""

    def stderr_tail(self) -> str: ...
    def kill(self) -> None:
        """End it; does not wait."""

    def close(self) -> None:
        """Break the lifeline. Idempotent."""


@runtime_checkable
class Connected(AgentProcess, Protocol):
    """One that is reached over a connection, which may be lost while the agent lives on."""

    connection_lost: bool

    def reopen(self) -> int:
        """Connect again; the pid, on its host, of a process that ends with the connection. Raises
        HostError, also where the agent has ended."""


def has_lost_line(process: AgentProcess) -> bool:
    """Whether the connection to it is lost, and no more is known."""
    return isinstance(process, Connected) and process.connection_lost


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A host that is ready for its agent."""

    process: AgentProcess
    log_dir: str  # a path there


class Launcher(Protocol):
    """Starts agents on other hosts, and knows how hosts reach each other. Any thread may call.
    `drops` counts, by reason, what it could not carry between them."""

    @property
    def drops(self) -> collections.Counter[str]: ...

    def prepare(self, host: HostSpec, run_id: str) -> Prepared:
        """Connect, check, install what is missing; several hosts at a time. Raises HostError."""

    def bind(self, host: str) -> str:
        """The address that listeners of a host bind."""

    def way(self, viewer: str, host: str, port: int) -> str:
        """Where `viewer` dials a port of `host`; empty where nothing leads there."""
