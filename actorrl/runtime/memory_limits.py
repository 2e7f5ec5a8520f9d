"""What a process of a run may hold in memory before it is ended: an actor by its agent, an agent
and a driver by themselves.

Whoever sends too much to one of them, and an environment that leaks, would else bring the whole
host to where the kernel chooses whom to kill. (ZeroMQ takes in as many parts of a message as come,
and hands it over when the last one is there.)
"""

from __future__ import annotations

import os

from actorrl.errors import PlacementError
from actorrl.runtime.counts import usable_memory
from actorrl.runtime.host_specs import AUTO, HostSpec, RoleSpec
from actorrl.runtime.placement import Host, size_text
from actorrl.runtime.program import Node

LIBRARIES_BYTES = 512 * 2**20
"""Python and its libraries, for which nobody asks: they come on top of what was asked for."""

_LOOK_S = 0.5
_PAGE = os.sysconf("SC_PAGE_SIZE")


class MemoryExceeded(RuntimeError):
    """This process holds more than it may; the text has both numbers."""


class OwnMemory:
    """Of this process, an agent or a driver, which may hold `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next_look = 0.0

    def check(self, now: float) -> None:
        """Looks twice a second at most. Raises MemoryExceeded."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_S
        _, own = memory_of(os.getpid())
        if own > self._limit:
            raise MemoryExceeded(over_limit(own, self._limit))


def said(host: HostSpec) -> int:
    """Bytes that a run may have of a host, as the host list says; 0 where it is silent."""
    return 0 if host.resources.mem == AUTO else host.resources.mem


def driver_limit(here: Host, spec: HostSpec) -> int:
    """Bytes that the driver may hold: the list may give it more, and means its actors otherwise."""
    return max(usable_memory(here) or 0, said(spec))


def memory_of(pid: int) -> tuple[int, int]:
    """Bytes that a process holds, and those of them that are its own: neither a file nor shared
    memory, which others may hold as well. Zeros once it has ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = map(int, file.read().split())
            return resident * _PAGE, (resident - shared) * _PAGE
    except (OSError, ValueError):
        return 0, 0


def over_limit(held: int, limit: int) -> str:
    """Why a process was ended."""
    return f"ended at its memory limit: it held {in_words(held)}, and {in_words(limit)} are allowed"


def in_words(nbytes: int) -> str:
    return f"{nbytes / 2**30:.1f} GiB" if nbytes >= 2**30 else f"{nbytes / 2**20:.0f} MiB"


def memory_limit(node: Node, spec: RoleSpec, host: Host) -> int:
    """Bytes of its own: what was said for it or its role and room for its libraries, else all that
    actors may have of the host. 0: nobody knows how much that is."""
    said = node.memory_limit if spec.mem is None else spec.mem
    return said + LIBRARIES_BYTES if said else host.memory_bytes or 0


def check_said(role: str, spec: RoleSpec, needed: int, arithmetic: str) -> None:
    """Raises PlacementError where an actor would be ended before it has all that it is to keep."""
    if spec.mem and needed > spec.mem + LIBRARIES_BYTES:
        raise PlacementError(
            f"roles.{role}.mem: {size_text(spec.mem)}, and each actor of that role needs"
            f" {size_text(needed)} ({arithmetic}); say more, or leave it out"
        )
