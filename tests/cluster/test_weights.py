"""Weights between hosts, as the cables' own counters see them."""

from __future__ import annotations

from pathlib import Path

import cloudpickle
import pytest

from actorrl.runtime.cluster import Cluster
from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.launchers.over_ssh import SshLauncher
from benchmarks import weights
from tests.cluster.runs import entry
from tests.cluster.sandboxes import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
WORKERS = 8  # four on each of two hosts
VERSIONS = 10


def sent_to(sandbox: Sandbox) -> list[int]:
    """Bytes that went to each host."""
    paths = [
        Path("/sys/class/net", host.interfaces[0].outside, "statistics/tx_bytes")
        for host in sandbox.plan.hosts
    ]
    return [int(path.read_text()) for path in paths]


def test_weights_go_to_a_host_once_however_many_workers_it_has(flat, tmp_path):
    one, two, other = flat.addresses
    (tmp_path / "project").mkdir()
    hosts = flat.cluster(
        tmp_path / "project" / "cluster.yml",
        entry("local", "learner"),
        entry(one, "rollout"),
        entry(two, "rollout"),
        entry(other, "replay"),  # carries nobody: it gets no weights
    )
    cloudpickle.register_pickle_by_value(weights)  # the hosts do not have this module
    spec = load_cluster(hosts)
    launch = SshLauncher(spec)
    launch.bootstrap()
    try:
        made = Cluster(weights.program(WORKERS), spec, launch=launch, log_dir=tmp_path / "logs")
        with made as cluster, weights.publishing(cluster, WORKERS) as publish:
            publish(1)
            before = sent_to(flat)
            publish(VERSIONS)
            sent = [now - then for now, then in zip(sent_to(flat), before, strict=True)]
    finally:
        launch.close()
        cloudpickle.unregister_pickle_by_value(weights)
    copies = [num_bytes / (VERSIONS * weights.NUM_BYTES) for num_bytes in sent]
    print(f"copies of the weights that went to each host: {[round(c, 3) for c in copies]}")
    assert all(1.0 <= number < 1.5 for number in copies[:2])
    assert copies[2] < 0.1
