"""How often do weights leave their host for W workers on H others, and how soon are they there?

Bytes that the agent of the learner's host sends to other hosts for each version, until all workers
have it, as its sockets' counters say; against one copy for each host. Budget: that, and 5 percent
of headers, however many workers there are. Beside it the seconds from one publication until the
last worker, asked one after the other, has answered with that version. The hosts are agents of this
machine that share nothing but TCP; tests/cluster has the same with network namespaces and the
interfaces' counters.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.host_specs import LOCAL, ClusterSpec, HostSpec, NetworkSpec, RoleSpec
from actorrl.runtime.launchers.loopback import LoopbackLauncher
from actorrl.runtime.program import Program, State
from benchmarks.harness.pairing import Case, Sample, Side, Window

_WEIGHTS = 1_000_000  # float32
NUM_BYTES = 4 * _WEIGHTS
_VERSIONS = 10  # of a window
_PATIENCE_S = 120.0
_QUIET_S = 6.0  # agents tell their counts every 2 s


def cases(peers: bool) -> list[Case]:
    return [
        Case(
            f"{workers} workers on {hosts} hosts",
            "MB per version",
            _ours(workers, hosts),
            _one_for_each(hosts),
            "<= 1.05",
            f"one copy for each worker would be {workers * NUM_BYTES / 1e6:g} MB",
            pairs=3,
        )
        for workers, hosts in ((2, 2), (8, 2), (32, 2), (8, 1), (8, 4))
    ]


class Writer(Actor):
    def on_start(self) -> None:
        self.version = 0

    @remote
    def publish(self) -> int:
        self.version += 1
        flat = np.full(_WEIGHTS, self.version, np.float32)
        self.context.publisher("weights").publish(self.version, {"flat": flat})
        return self.version


class Reader(Actor):
    @remote
    def read(self) -> tuple[int, float]:
        """The newest version here, and its last number."""
        weights = self.context.state("weights")
        if weights.version == 0:
            return 0, 0.0
        version, arrays = weights.read()
        return version, float(arrays["flat"][-1])


def program(workers: int) -> Program:
    program = Program("weights")
    writer = program.add("learner", Writer)
    readers = program.add_group("rollout", Reader, count=workers)
    program.link("weights", State(), writer, readers)
    return program


@contextlib.contextmanager
def publishing(cluster: Cluster, workers: int) -> Iterator[Callable[[int], None]]:
    """publish(count): so many versions, each after all workers have read the one before."""

    def publish(count: int) -> None:
        for _ in range(count):
            version = cluster.ref("learner/0").publish.call().result()
            deadline = time.monotonic() + _PATIENCE_S
            for index in range(workers):
                read = cluster.ref(f"rollout/{index}").read
                while read.call().result() != (version, float(version)):
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"rollout/{index} never got version {version}")

    yield publish


def _ours(workers: int, num_hosts: int) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        hosts = [HostSpec(name=f"host{index}", roles=("rollout",)) for index in range(num_hosts)]
        spec = ClusterSpec(
            hosts=(HostSpec(name=LOCAL, roles=("learner",)), *hosts),
            network=NetworkSpec(ports=(43000, 43399)),
            roles={"rollout": RoleSpec(place="spread")},
        )
        with tempfile.TemporaryDirectory() as folder:
            launch = LoopbackLauncher(Path(folder, "hosts"))
            made = Cluster(program(workers), spec, launch=launch, log_dir=Path(folder))
            with made as cluster, publishing(cluster, workers) as publish:

                def window() -> Sample:
                    before, started = _settled(cluster), time.monotonic()
                    publish(_VERSIONS)
                    seconds = (time.monotonic() - started) / _VERSIONS
                    sent = (_settled(cluster) - before) / _VERSIONS
                    more = {"copies": sent / NUM_BYTES, "seconds_to_the_last": seconds}
                    return Sample(sent / 1e6, more)

                yield window

    return Side("actorrl", opened)


def _settled(cluster: Cluster) -> int:
    """Bytes that agents have sent to others, once no more of them are told of."""
    sent, since = -1, time.monotonic()
    while time.monotonic() < since + _QUIET_S:
        now = cluster.traffic().get("agent", {}).get("bytes_wire", -1)
        if now != sent or now < 0:
            sent, since = now, time.monotonic()
        time.sleep(0.1)
    return sent


def _one_for_each(hosts: int) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        yield lambda: Sample(hosts * NUM_BYTES / 1e6)

    return Side("one copy for each host", opened)
