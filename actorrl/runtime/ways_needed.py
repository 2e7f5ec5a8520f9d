"""Which hosts have to reach which over TCP, by the links of a Program. Pure.

With a learner on the driver's machine and workers on thirty hosts these are thirty ways and the
same back for nobody: to ask, and to forward, all pairs would be a thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from actorrl.runtime.host_specs import LOCAL, ClusterSpec
from actorrl.runtime.permissions import is_dialled, listeners
from actorrl.runtime.program import Link, Program, State
from actorrl.runtime.refs import DRIVER

Pair = tuple[str, str]  # who dials, who is dialled


def host_pairs(
    program: Program, spec: ClusterSpec, callers: Mapping[str, Iterable[str]]
) -> frozenset[Pair]:
    """For wherever the actors may come to be placed, now and after the loss of a host. `callers`:
    actor -> who may call it."""
    pairs = {(host.name, LOCAL) for host in spec.remote_hosts}  # agents dial the driver
    for dialler, dialled in role_pairs(program, callers):
        pairs.update(
            (a, b) for a in _hosts_of(dialler, spec) for b in _hosts_of(dialled, spec) if a != b
        )
    return frozenset(pairs)


def role_pairs(program: Program, callers: Mapping[str, Iterable[str]]) -> frozenset[Pair]:
    """The same between roles; the driver is one of its own."""
    found = listeners(program.links, callers)
    pairs = {_pair(DRIVER, name, found) for name in program.nodes}
    for link in program.links.values():
        pairs.update(_of_link(link, found))
    pairs.update(_pair(caller, name, found) for name in callers for caller in callers[name])
    return frozenset((_role(dialler), _role(dialled)) for dialler, dialled in pairs)


def _of_link(link: Link, found: frozenset[str]) -> Iterator[Pair]:
    for source in link.sources:
        for target in link.targets:
            if isinstance(link.kind, State):  # the reader's agent asks the writer's
                yield target, source
            elif is_dialled(link.kind):
                yield _pair(source, target, found)
    if isinstance(link.kind, State):
        yield from ((DRIVER, source) for source in link.sources)


def _pair(starter: str, other: str, found: frozenset[str]) -> Pair:
    """Who starts something dials, unless the other does not listen: then that one visits."""
    return (starter, other) if other in found else (other, starter)


def _role(name: str) -> str:
    return name.partition("/")[0]


def _hosts_of(role: str, spec: ClusterSpec) -> list[str]:
    if role == DRIVER:
        return [LOCAL]
    return [host.name for host in spec.hosts if not host.roles or role in host.roles]
