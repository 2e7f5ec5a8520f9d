"""Actors that do next to nothing, one for each host, over SSH."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from actorrl.runtime.cluster import Cluster
from actorrl.runtime.examples.counter import Counter
from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.launchers.over_ssh import SshLauncher
from actorrl.runtime.program import Program


@contextlib.contextmanager
def counters_over(hosts: Path, count: int, **options: Any) -> Iterator[Cluster]:
    """All of them ready; stopped at the end. The host file is changed. `options` are Cluster's."""
    with open(hosts, "a") as file:
        file.write("roles: {counter: {place: spread}}\n")
    spec = load_cluster(hosts, roles=["counter"])
    program = Program("light")
    program.add_group("counter", Counter, count=count)
    launch = SshLauncher(spec)
    launch.bootstrap()
    try:
        logs = hosts.parent / "logs"
        with Cluster(program, spec, launch=launch, log_dir=logs, **options) as cluster:
            yield cluster
    finally:
        launch.close()
