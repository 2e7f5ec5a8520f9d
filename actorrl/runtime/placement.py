"""Who goes to which host. Pure: a Program and the hosts in, an assignment out.

CPU steers spreading only: more actors than cores run, with a notice. GPUs are hard.
"""

from __future__ import annotations

import dataclasses

from actorrl.errors import PlacementError
from actorrl.runtime.program import Program


@dataclasses.dataclass(frozen=True)
class Host:
    """A host as its agent describes it."""

    name: str
    num_cpus: int
    memory_bytes: int
    gpus: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Place:
    host: str
    gpus: tuple[str, ...] = ()


def place(program: Program, hosts: list[Host]) -> tuple[dict[str, Place], list[str]]:
    """Slot -> place, and notices. Raises PlacementError with a line per host."""
    free_gpu = {(host.name, gpu): 1.0 for host in hosts for gpu in host.gpus}
    load = {host.name: 0.0 for host in hosts}
    cores = {host.name: max(1, host.num_cpus) for host in hosts}
    places: dict[str, Place] = {}
    for node in program.nodes.values():
        choices = sorted(hosts, key=lambda host: load[host.name] / cores[host.name])
        for host in choices:
            gpus = _take_gpus(free_gpu, host.name, node.gpu)
            if gpus is not None:
                places[node.name] = Place(host.name, gpus)
                load[host.name] += node.cpu
                break
        else:
            rows = [f"  {host.name}: {len(host.gpus)} GPUs" for host in hosts]
            raise PlacementError(
                f"{node.name} needs {node.gpu:g} GPU and no host has that free:\n"
                + "\n".join(rows)
                + "\n  set num_gpus=0 to learn on the CPU"
            )
    notices = [
        f"{host.name}: {load[host.name]:g} actors on {host.num_cpus} cores"
        for host in hosts
        if load[host.name] > host.num_cpus
    ]
    return places, notices


def _take_gpus(
    free: dict[tuple[str, str], float], host: str, wanted: float
) -> tuple[str, ...] | None:
    """Whole devices, or a fraction of one; None if the host has not that much."""
    if wanted <= 0:
        return ()
    devices = [gpu for (name, gpu) in free if name == host]
    if wanted < 1:
        for gpu in devices:
            if free[(host, gpu)] >= wanted - 1e-9:
                free[(host, gpu)] -= wanted
                return (gpu,)
        return None
    whole = [gpu for gpu in devices if free[(host, gpu)] >= 1.0][: int(wanted)]
    if len(whole) < int(wanted):
        return None
    for gpu in whole:
        free[(host, gpu)] = 0.0
    return tuple(whole)
