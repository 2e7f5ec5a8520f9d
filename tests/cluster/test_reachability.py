"""Who can connect to whom, tried on hosts with and without ways between them."""

from __future__ import annotations

import contextlib
import socket

import msgspec
import pytest

from actorrl.errors import ConfigError
from actorrl.runtime.host_specs import LOCAL, NetworkSpec
from actorrl.runtime.hosts import load_cluster
from actorrl.runtime.launchers import ssh
from actorrl.runtime.launchers.reachability import (
    Pair,
    Reach,
    driver_addresses,
    reach,
    tunnel_warning,
)
from tests.cluster.sandboxes import Sandbox


def reach_in(sandbox: Sandbox, pairs: list[Pair] | None = None, **network: object) -> Reach:
    """Between the hosts of a sandbox and this machine."""
    cluster = load_cluster(sandbox.directory / "cluster.yml")
    checks = ssh.preflight(cluster)
    try:
        spec = msgspec.structs.replace(cluster.network, **network)
        return reach([check.prober() for check in checks], spec, pairs)
    finally:
        for check in checks:
            check.close()


def test_hosts_of_one_network_all_reach_each_other(flat):
    found = reach_in(flat)
    addresses = {name: name for name in flat.addresses} | {LOCAL: flat.plan.driver_address}
    pairs = {(a, b): addresses[b] for a in addresses for b in addresses if a != b}
    assert found.address == pairs and found.listening == set(addresses)


def test_the_address_that_works_is_found_among_several(behind_jump):
    """Its first one, by which SSH reaches it, is in a network where this machine is not."""
    found = reach_in(behind_jump, advertise="auto")
    [host] = behind_jump.plan.hosts
    front = host.interfaces[0].address
    assert front != host.address
    assert found.address[LOCAL, host.address] == front
    assert found.address[host.address, LOCAL] == behind_jump.plan.driver_address


def test_a_host_without_any_way_is_said(far_away):
    found = reach_in(far_away)
    [host] = far_away.addresses
    assert found.address == {}
    assert found.without_way([(host, LOCAL)]) == [(host, LOCAL)]
    assert "open TCP ports 43000-43099" in tunnel_warning(host, LOCAL, NetworkSpec())


def test_only_the_pairs_that_are_asked_for_are_tried(flat):
    pairs = [(flat.addresses[0], LOCAL), (LOCAL, flat.addresses[1])]
    assert set(reach_in(flat, pairs).address) == set(pairs)


def test_a_range_of_ports_that_is_taken_leaves_nobody_to_connect_to(flat):
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("", 0)))
        port = taken.getsockname()[1]
        found = reach_in(flat, ports=(port, port))
        assert LOCAL not in found.listening
        assert found.listening == set(flat.addresses)


OWN = {"eth0": "10.0.0.5", "ib0": "192.168.7.5", "docker0": "172.17.0.1"}


@pytest.mark.parametrize(
    ("advertise", "addresses"),
    [
        ("auto", list(OWN.values())),
        ("interface:ib0", ["192.168.7.5"]),
        ("10.0.0.0/8", ["10.0.0.5"]),
        ("1.2.3.4", ["1.2.3.4"]),
        ("driver.lab", ["driver.lab"]),
    ],
)
def test_the_drivers_addresses_are_as_the_host_file_says(advertise, addresses):
    assert driver_addresses(advertise, OWN) == addresses


@pytest.mark.parametrize("advertise", ["interface:eth9", "11.0.0.0/8", "10.0.0/300"])
def test_an_address_of_the_driver_that_it_does_not_have_is_refused(advertise):
    with pytest.raises(ConfigError, match=r"network.advertise: "):
        driver_addresses(advertise, OWN)
