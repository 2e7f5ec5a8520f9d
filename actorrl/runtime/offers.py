"""What the hosts of a list offer to a Program: counted by their agents, limited by the list, and
before anybody has counted, assumed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from actorrl.errors import PlacementError
from actorrl.runtime import permissions
from actorrl.runtime.counts import ASSUMED_CORES, usable_memory
from actorrl.runtime.host_specs import AUTO, ClusterSpec, HostSpec
from actorrl.runtime.placement import Host
from actorrl.runtime.program import Program

_PORTS_OF_AGENT = 1  # others fetch weights there
_PORTS_OF_DRIVER = 3  # its own inbox, and those of agents and their beats


def offers(spec: ClusterSpec, found: Mapping[str, Host]) -> list[Host]:
    """The hosts that were reached, in the list's order. `found`: name -> what its agent counted.
    Raises PlacementError where the list promises GPUs that a host does not have."""
    return [_limited(spec, host, found[host.name]) for host in spec.hosts if host.name in found]


def assumed_offers(spec: ClusterSpec, here: Host, program: Program) -> list[Host]:
    """The hosts before any is reached. `here` is the driver's machine, counted. Of the others the
    list's words are taken; else one core, and as many GPUs and as much memory as is asked for."""
    gpus_asked = [spec.role(node.role).gpu or node.gpu for node in program.nodes.values()]
    num_gpus = sum(math.ceil(gpus) for gpus in gpus_asked)
    unseen = {host.name: _unseen(host, num_gpus) for host in spec.remote_hosts}
    seen = {host.name: here for host in spec.hosts if host.is_local}
    return offers(spec, {**unseen, **seen})


def listening(program: Program, spec: ClusterSpec) -> frozenset[str]:
    """Who takes a port of its host. Raises ProgramError for what cannot be sent to a process."""
    if not spec.remote_hosts:
        return frozenset()
    return permissions.listeners(program.links, permissions.callers_of(program))


def _unseen(host: HostSpec, num_gpus: int) -> Host:
    said = host.resources
    count = num_gpus if said.gpu == AUTO else said.gpu
    words = {"cores": said.cpu, "GPUs": said.gpu, "memory": said.mem}
    return Host(
        host.name,
        ASSUMED_CORES,
        gpus=tuple(f"assumed-{index}" for index in range(count)),
        assumed=tuple(word for word, value in words.items() if value == AUTO),
    )


def _limited(spec: ClusterSpec, host: HostSpec, found: Host) -> Host:
    said = host.resources
    gpus = found.gpus if said.gpu == AUTO else _first(said.gpu, host, found)
    return dataclasses.replace(
        found,
        name=host.name,
        num_cpus=found.num_cpus if said.cpu == AUTO else said.cpu,
        memory_bytes=usable_memory(found) if said.mem == AUTO else said.mem,
        gpus=gpus,
        roles=host.roles,
        num_ports=_ports(spec, host, found),
    )


def _ports(spec: ClusterSpec, host: HostSpec, found: Host) -> int:
    """For actors: what the range has, or what is free of it, less those of agent and driver."""
    ports = spec.network.num_ports if found.num_ports is None else found.num_ports
    return max(0, ports - _PORTS_OF_AGENT - _PORTS_OF_DRIVER * host.is_local)


def _first(wanted: int, host: HostSpec, found: Host) -> tuple[str, ...]:
    if wanted > len(found.gpus):
        raise PlacementError(
            f"{host.name} has {len(found.gpus)} GPUs, and the host list says gpu: {wanted}; "
            "`gpu: auto` takes those that are there"
        )
    return found.gpus[:wanted]
