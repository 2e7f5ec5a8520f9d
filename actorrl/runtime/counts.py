"""How many actors a role has: what the user says, else the host list, else the cores at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from actorrl.runtime.host_specs import AUTO, ClusterSpec, HostSpec
from actorrl.runtime.placement import SPREAD_ROLE, Host

USABLE_MEMORY = 0.8
ASSUMED_CORES = 1  # of a host that nobody has reached yet


def role_count(spec: ClusterSpec, role: str, given: int | None, otherwise: int) -> int:
    """`given` by flag or setting, else `roles` of the host list, else `otherwise`."""
    return given if given is not None else spec.role(role).count or otherwise


def default_workers(spec: ClusterSpec, cores_here: int, learners: int = 1) -> int:
    """max(1, cores - learners) over the hosts that rollouts go to. `cores_here`: of the driver's
    machine. Learners count where they may share a host with rollouts."""
    hosts = _first_choice(spec, SPREAD_ROLE)
    cores = sum(_cores(host, cores_here) for host in hosts)
    shared = any(not host.roles or "learner" in host.roles for host in hosts)
    return max(1, cores - (learners if shared else 0))


def learner_cores(spec: ClusterSpec, cores_here: int, num_workers: int) -> int:
    """Cores that rollouts leave on the host to which the learner goes; at least one."""
    hosts, others = _first_choice(spec, "learner"), _first_choice(spec, SPREAD_ROLE)
    if not hosts:
        return 1
    own = _cores(hosts[0], cores_here)
    if hosts[0] not in others:
        return own
    total = sum(_cores(host, cores_here) for host in others)
    return max(1, own - math.ceil(num_workers * own / total))


def _first_choice(spec: ClusterSpec, role: str) -> list[HostSpec]:
    """The hosts that name a role, else those that name none."""
    named = [host for host in spec.hosts if role in host.roles]
    return named or [host for host in spec.hosts if not host.roles]


def _cores(host: HostSpec, cores_here: int) -> int:
    if host.resources.cpu != AUTO:
        return host.resources.cpu
    return cores_here if host.is_local else ASSUMED_CORES


def with_roles(spec: ClusterSpec, said: Mapping[str, Mapping[str, Any]]) -> ClusterSpec:
    """The list with role -> RoleSpec's fields written over its own; None leaves a field."""
    roles = dict(spec.roles)
    for role, fields in said.items():
        given = {name: value for name, value in fields.items() if value is not None}
        if given:
            roles[role] = msgspec.structs.replace(spec.role(role), **given)
    return msgspec.structs.replace(spec, roles=roles)


def counted(spec: ClusterSpec, cores: Mapping[str, int]) -> ClusterSpec:
    """The list with the cores that hosts have in place of `auto`, so that a run's numbers of actors
    follow from the list alone; hosts not in `cores` stay as they are."""
    hosts = [_counted(host, cores.get(host.name)) for host in spec.hosts]
    return msgspec.structs.replace(spec, hosts=tuple(hosts))


def _counted(host: HostSpec, cores: int | None) -> HostSpec:
    if cores is None or host.resources.cpu != AUTO:
        return host
    resources = msgspec.structs.replace(host.resources, cpu=cores)
    return msgspec.structs.replace(host, resources=resources)


def usable_memory(found: Host) -> int | None:
    """Of a host's memory what actors may ask for; the rest is for what they do not ask for."""
    return None if found.memory_bytes is None else int(found.memory_bytes * USABLE_MEMORY)
