"""Further hosts on this very machine, for tests and for trying: each has an agent and a directory
of its own, and talks to the others over TCP only."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path

from actorrl.runtime.host_specs import HostSpec
from actorrl.runtime.launch import Prepared
from actorrl.runtime.launchers.local import LocalAgentProcess
from actorrl.wire.sockets import tcp_address

_LOOPBACK = "127.0.0.1"


@dataclasses.dataclass(frozen=True)
class LoopbackLauncher:
    """`folder` takes the hosts' logs. Nothing is carried: they dial each other."""

    folder: Path

    @property
    def drops(self) -> collections.Counter[str]:
        return collections.Counter()

    def prepare(self, host: HostSpec, run_id: str) -> Prepared:
        log_dir = self.folder / host.name
        process = LocalAgentProcess(run_id, host.name, log_dir, lifeline=True)
        return Prepared(process, str(log_dir.absolute()))

    def bind(self, host: str) -> str:
        return _LOOPBACK

    def way(self, viewer: str, host: str, port: int) -> str:
        return tcp_address(_LOOPBACK, port)
