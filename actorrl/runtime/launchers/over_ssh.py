"""Agents over SSH: all hosts are made ready together before the run, and each alone when it comes
back. Where two hosts cannot reach each other, SSH carries what they say."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable

import msgspec

from actorrl.errors import HostError
from actorrl.runtime.host_specs import LOCAL, ClusterSpec, HostSpec
from actorrl.runtime.launch import Prepared
from actorrl.runtime.launchers.agent_process import SshAgentProcess
from actorrl.runtime.launchers.reachability import Pair, Reach, reach, tunnel_warning
from actorrl.runtime.launchers.ssh import HostCheck, bootstrap
from actorrl.runtime.strays import HOST_VARIABLE
from actorrl.wire.sockets import is_loopback, tcp_address

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = "0.0.0.0"

Say = Callable[[str], None]


class SshLauncher:
    """See the module. `say` hears what takes time, and warnings; any thread calls it. `pairs` are
    the hosts that have to reach each other (who dials, who is dialled); None: all do."""

    def __init__(
        self,
        cluster: ClusterSpec,
        say: Say = lambda line: None,
        pairs: frozenset[Pair] | None = None,
    ) -> None:
        self._cluster = cluster
        self._pairs = pairs
        self._say = say
        self._ready: dict[str, HostCheck] = {}
        self._left_out: dict[str, str] = {}
        self._processes: dict[str, SshAgentProcess] = {}
        self._address: dict[tuple[str, str], str] = {}
        self._forwards: dict[tuple[str, str, int], str] = {}
        self._warned: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self.drops: collections.Counter[str] = collections.Counter()  # by all forwards

    # ---- making hosts ready -------------------------------------------------------------

    def bootstrap(self) -> None:
        """All hosts, before anything of the run is made. Raises HostError, VersionError,
        ConfigError: nothing is connected then."""
        for check in bootstrap(self._cluster, self._note):
            self._ready[check.name] = check
        try:
            self._learn_ways(list(self._ready.values()))
        except BaseException:
            self.close()
            raise

    def cores(self) -> dict[str, int]:
        """Of the hosts that are ready, by name."""
        checks = self._ready.values()
        return {check.name: check.facts.num_cpus for check in checks if check.facts is not None}

    def _note(self, host: str, line: str) -> None:
        if line.startswith("left out"):
            self._left_out[host] = line
        self._say(f"{host}: {line}")

    def _learn_ways(self, checks: list[HostCheck]) -> None:
        found: Reach = reach(
            [check.prober() for check in checks], self._cluster.network, self._pairs
        )
        with self._lock:
            self._address.update(found.address)

    def close(self) -> None:
        """Whatever is connected and carries no agent."""
        for check in self._ready.values():
            check.close()
        self._ready.clear()

    def prepare(self, host: HostSpec, run_id: str) -> Prepared:
        if reason := self._left_out.pop(host.name, ""):
            raise HostError(f"{host.name}: {reason}")
        check = self._ready.pop(host.name, None) or self._again(host)
        assert check.place is not None and check.facts is not None
        environment = {**check.place.environment, HOST_VARIABLE: host.name}
        check.place = check.place._replace(environment=environment)
        process = check.agent(run_id, self.drops)
        with self._lock:
            self._processes[host.name] = process
            for way in [way for way in self._forwards if host.name in way]:
                del self._forwards[way]
        return Prepared(process, f"{check.facts.workdir}/logs/{run_id}")

    def _again(self, host: HostSpec) -> HostCheck:
        """A host that was lost, or left out at the start."""
        alone = msgspec.structs.replace(host, required=True)  # an error is raised, not said
        (check,) = bootstrap(msgspec.structs.replace(self._cluster, hosts=(alone,)))
        self._learn_ways([check])
        return check

    # ---- ways ---------------------------------------------------------------------------

    def bind(self, host: str) -> str:
        """Loopback alone where nobody dials it directly."""
        with self._lock:
            dialled = [address for (_, to), address in self._address.items() if to == host]
        return _EVERYWHERE if any(not is_loopback(each) for each in dialled) else _LOOPBACK

    def way(self, viewer: str, host: str, port: int) -> str:
        if self._pairs is not None and (viewer, host) not in self._pairs:
            return ""  # nobody there has anything to say to anybody here
        with self._lock:
            address = self._address.get((viewer, host))
            known = self._forwards.get((viewer, host, port))
        if address is not None:
            return tcp_address(address, port)
        if known is None:
            known = self._forward(viewer, host, port)
            with self._lock:
                self._forwards[viewer, host, port] = known
        return known

    def _forward(self, viewer: str, host: str, port: int) -> str:
        if (viewer, host) not in self._warned:
            self._warned.add((viewer, host))
            self._say(f"warning: {tunnel_warning(viewer, host, self._cluster.network)}")
        try:
            if host != LOCAL:
                port = self._processes[host].forward_from_driver(port)
            if viewer != LOCAL:
                port = self._processes[viewer].forward_to_driver(port)
        except (HostError, KeyError) as error:
            self._say(f"warning: {viewer} does not reach {host}: {error}")
            return ""
        return tcp_address(_LOOPBACK, port)
