"""What an actor may hold in memory before its agent ends it. Pure.

Whoever sends too much to an actor, and an environment that leaks, would else bring the whole host
to where the kernel chooses whom to kill.
"""

from __future__ import annotations

from actorrl.errors import PlacementError
from actorrl.runtime.host_specs import RoleSpec
from actorrl.runtime.placement import Host, size_text
from actorrl.runtime.program import Node

LIBRARIES_BYTES = 512 * 2**20
"""Python and its libraries, for which nobody asks: they come on top of what was asked for."""


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
