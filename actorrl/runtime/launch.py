"""What the driver needs of whoever starts agents; `launchers` has those who do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

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


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A host that is ready for its agent. The addresses are names or numbers without a port."""

    process: AgentProcess
    address: str  # under which the other hosts reach it
    driver_address: str  # under which it reaches the driver's machine
    bind: str  # what its own listeners bind
    log_dir: str  # a path there
    # a port of the driver's machine -> where the host finds it; else under `driver_address`
    forward: Callable[[int], str] | None = None
    notice: str = ""


# Connect, check and install what is missing; raises HostError. Any thread, several at a time.
Launcher = Callable[[HostSpec, str], Prepared]
