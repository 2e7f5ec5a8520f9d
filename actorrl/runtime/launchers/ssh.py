"""From a host list to hosts that are ready for their agents, over SSH alone.

    connect -> probe -> check -> copy the code -> prepare the interpreter -> (start the agent)

`preflight` goes as far as the check and writes nothing anywhere; `bootstrap` goes on, for all hosts
at the same time, once all are found good. A required host that fails at any step stops all of it,
with one table; one that is not required is left out, and said.
"""

from __future__ import annotations

import collections
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from actorrl.errors import ActorRLError, HostError, VersionError
from actorrl.runtime.host_specs import ClusterSpec, HostSpec, SyncSpec
from actorrl.runtime.launchers import code_sync, environment, own
from actorrl.runtime.launchers.agent_process import AgentPlace, SshAgentProcess
from actorrl.runtime.launchers.connection import Connection
from actorrl.runtime.launchers.dialling import connect
from actorrl.runtime.launchers.probe import Facts, check_facts, probe
from actorrl.runtime.launchers.reachability import Prober

_MAX_THREADS = 64  # of which at most 8 log in at a time
_MAX_ERRORS = 6  # shown in full; of the others only the names

Say = Callable[[str, str], None]  # host, line


@dataclass
class HostCheck:
    """How far one host got. Whoever asked for it closes `connection`."""

    spec: HostSpec
    connection: Connection | None = None
    facts: Facts | None = None
    place: AgentPlace | None = None
    error: ActorRLError | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.spec.name

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def prober(self) -> Prober:
        """For `reachability.reach`."""
        assert self.connection is not None and self.facts is not None
        addresses = [self.facts.own_address, self.connection.dialled_address]
        known = [address for address in addresses if address]
        return Prober(self.name, self.connection, self.facts.python, known)

    def agent(self, run_id: str, drops: collections.Counter[str]) -> SshAgentProcess:
        """The host's agent, not started yet; it closes the connection with itself."""
        assert self.connection is not None and self.place is not None
        return SshAgentProcess(self.connection, self.place, run_id, drops)


def preflight(cluster: ClusterSpec) -> list[HostCheck]:
    """Connect to every host but the local one, and look; nothing is written. Never raises: errors
    are in the rows."""
    checks = [HostCheck(spec) for spec in cluster.remote_hosts]
    _for_all(checks, lambda check: _look(check, cluster))
    return checks


def bootstrap(cluster: ClusterSpec, say: Say = lambda host, line: None) -> list[HostCheck]:
    """The hosts that are ready, without those that failed and are not required. Raises HostError
    or VersionError where a required one failed, ConfigError where the code cannot be copied;
    nothing is left connected then. `say` is told of what takes time, on any thread."""
    code = Code()
    for host in cluster.remote_hosts:
        code.trees(host.sync)  # too much of it is found out before anybody is connected to
    good = _good(preflight(cluster), say)
    _for_all(good, lambda check: _make_ready(check, code, say))
    return _good(good, say)


def _good(checks: Sequence[HostCheck], say: Say) -> list[HostCheck]:
    """Those without an error. Raises that of the required ones; then nothing is connected."""
    failed = [check for check in checks if check.error is not None]
    if any(check.spec.required for check in failed):
        for check in checks:
            check.close()
        raise failure([check for check in failed if check.spec.required])
    for check in failed:
        check.close()
        say(check.name, f"left out, it is not required: {check.error}")
    return [check for check in checks if check.error is None]


class Code:
    """What hosts get under `sync: {mode: copy}`: read once, for all of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trees: dict[tuple[str, ...], list[code_sync.Tree]] = {}

    def trees(self, sync: SyncSpec) -> list[code_sync.Tree]:
        """Raises ConfigError for more than may be copied."""
        if sync.mode != "copy":
            return []
        key = (sync.source, *sync.exclude)
        with self._lock:
            if key not in self._trees:
                self._trees[key] = code_sync.trees(sync)
            return self._trees[key]


def failure(failed: Sequence[HostCheck]) -> ActorRLError:
    """One error for all hosts that failed."""
    errors = [check.error for check in failed if check.error is not None]
    if len(errors) == 1 or not all(isinstance(error, HostError) for error in errors):
        return next((e for e in errors if not isinstance(e, HostError)), errors[0])
    lines = [f"{len(errors)} hosts cannot be used"]
    lines += [str(error) for error in errors[:_MAX_ERRORS]]
    if more := [check.name for check in failed[_MAX_ERRORS:]]:
        lines.append(f"and {len(more)} more: {', '.join(more)}")
    kind = VersionError if all(isinstance(e, VersionError) for e in errors) else HostError
    return kind("\n".join(lines))


# ---- one host -----------------------------------------------------------------------------------


def _look(check: HostCheck, cluster: ClusterSpec) -> None:
    assert check.spec.ssh is not None
    options = "" if cluster.source == check.name else f" --hosts {cluster.source}"
    check.connection = connect(check.spec.ssh, check.name, options)
    check.facts = probe(check.connection, check.spec, cluster.network.ports)
    check_facts(check.spec, check.facts, cluster.network.ports)
    if check.connection.retries:
        check.notes.append(f"let in after {check.connection.retries} refusals (MaxStartups)")
    if missing := environment.not_passed(check.spec, os.environ):
        check.notes.append(f"pass_env: {', '.join(missing)} is not set here")


def _make_ready(check: HostCheck, code: Code, say: Say) -> None:
    assert check.connection is not None and check.facts is not None
    paths, directory = _bring_code(check, code, say)
    if check.facts.makes_venv and not check.facts.has_made_venv:
        say(check.name, "making .venv with the packages of this machine, once")
    prepared = environment.prepare(check.connection, check.spec, check.facts, directory)
    for line in [*prepared.did, *check.notes]:
        say(check.name, line)
    check.place = environment.agent_place(check.spec, prepared.python, paths, directory, os.environ)


def _bring_code(check: HostCheck, code: Code, say: Say) -> tuple[list[str], str]:
    """Folders for PYTHONPATH, and the one to work in: the user's source."""
    assert check.connection is not None and check.facts is not None
    sync = check.spec.sync
    if sync.mode == "none":
        return [], check.facts.workdir
    if sync.mode == "shared":
        source = os.path.abspath(os.path.expanduser(sync.source))
        return [str(own.PACKAGE.parent), source], source
    facts = check.facts
    for tree in code.trees(sync):
        if tree.num_links:
            check.notes.append(f"{tree.num_links} links to folders in {tree.root} are not copied")
    copied = code_sync.copy(check.connection, facts.python, facts.workdir, code.trees(sync))
    for name in copied.sent:
        say(check.name, f"sent {name}")
    return copied.paths, copied.paths[-1]


def _for_all(checks: Sequence[HostCheck], work: Callable[[HostCheck], None]) -> None:
    """Do it for each host, at the same time; what fails is kept in its row."""

    def careful(check: HostCheck) -> None:
        try:
            work(check)
        except ActorRLError as error:
            check.error = error

    if checks:
        with ThreadPoolExecutor(min(len(checks), _MAX_THREADS), "ssh") as threads:
            list(threads.map(careful, checks))
