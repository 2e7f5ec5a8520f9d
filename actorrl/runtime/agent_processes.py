"""The processes of a run's agents: hosts are made ready, agents are started, and all of them end.

Making another host ready takes seconds, so a thread does it for each.
"""

from __future__ import annotations

import functools
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from actorrl.errors import ActorRLError, HostError
from actorrl.runtime.host_specs import HostSpec
from actorrl.runtime.launch import AgentProcess, Launcher, Prepared
from actorrl.wire.control_messages import AgentConfig, encode_config

_JOIN_S = 5.0  # for hosts that are being made ready when the run ends, and for closing all agents

ConfigFor = Callable[[Prepared], AgentConfig]


class AgentProcesses:
    """Any thread may call. What is not ready when the run is closed is not started any more."""

    def __init__(self, run_id: str, launch: Launcher | None) -> None:
        self._run_id = run_id
        self._launch = launch
        self._ending = threading.Lock()  # of `_closed` and `_started`
        self._closed = False
        self._started: list[AgentProcess] = []
        self._preparing: list[threading.Thread] = []

    def start(self, host: str, prepared: Prepared, config: ConfigFor) -> None:
        """Raises HostError, OSError."""
        with self._ending:
            if self._closed:
                raise HostError(f"{host}: the run is over")
            self._started.append(prepared.process)
        prepared.process.start(encode_config(config(prepared)))

    def prepare(
        self, spec: HostSpec, config: ConfigFor, told: Callable[[Prepared | HostError], None]
    ) -> None:
        """Make another host ready and start its agent. `config` and `told` are called by a thread
        of its own."""
        work = functools.partial(self._prepare, spec, config, told)
        thread = threading.Thread(target=work, name=f"start {spec.name}", daemon=True)
        self._preparing = [each for each in self._preparing if each.is_alive()] + [thread]
        thread.start()

    def _prepare(
        self, spec: HostSpec, config: ConfigFor, told: Callable[[Prepared | HostError], None]
    ) -> None:
        prepared: Prepared | None = None
        try:
            if self._launch is None:
                raise HostError(f"{spec.name}: nothing here starts agents on other hosts")
            prepared = self._launch.prepare(spec, self._run_id)
            self.start(spec.name, prepared, config)
        except Exception as error:  # whatever it is: the host would be starting for ever
            if prepared is not None:
                prepared.process.close()
            told(_not_started(spec.name, error))
            return
        told(prepared)

    def close(self, patience_s: float) -> None:
        """End every agent that is still there, or on its way. However many there are, it takes no
        longer than the slowest, and what takes too long is left to its thread."""
        with self._ending:
            self._closed = True
        _join(self._preparing, _JOIN_S)
        with self._ending:
            ends = [
                threading.Thread(target=_end, args=(process, patience_s), name="end", daemon=True)
                for process in self._started
            ]
        for thread in ends:
            thread.start()
        _join(ends, patience_s + _JOIN_S)


def _join(threads: Iterable[threading.Thread], patience_s: float) -> None:
    """Wait so long for all of them together."""
    deadline = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


def _end(process: AgentProcess, patience_s: float) -> None:
    if process.wait(patience_s) is None:
        process.kill()
    process.close()


def _not_started(host: str, error: Exception) -> HostError:
    if isinstance(error, HostError):
        return error
    if isinstance(error, (ActorRLError, OSError)):
        return HostError(f"{host}: {error}")
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
    return HostError(f"{host}: starting its agent failed: {what}")
