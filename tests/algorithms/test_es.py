"""ES's settings; its step is told from ARS's in tests/losses, its workers in tests/roles."""

from __future__ import annotations

import pytest

from actorrl.algorithms.registry import config_class
from actorrl.runtime.host_specs import ClusterSpec, HostSpec, ResourceSpec


@pytest.mark.parametrize("algo", ["ES", "ARS"])
def test_there_are_no_more_workers_than_pairs_unless_one_says_so(algo: str) -> None:
    hosts = ClusterSpec(hosts=(HostSpec(name="local", resources=ResourceSpec(cpu=64)),))
    config = config_class(algo)().cluster(hosts=hosts)
    assert config.resolved_num_workers() == config.num_pairs() == 32
    assert config.validate() == []
    (line,) = config.rollouts(num_workers=33).validate()
    assert line.startswith("num_workers: 33 workers for 32 pairs a round")
