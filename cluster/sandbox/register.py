"""Which sandboxes this machine has, wherever their directories are.

A copy of each plan, so that what somebody left who was killed can be found and removed, even when
its directory is gone. A sandbox that belongs to a process (`up --owner PID`) is an orphan once that
process has ended.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from cluster.sandbox.plan import Sandbox, read_file


def add(sandbox: Sandbox) -> None:
    """Before anything of it is made."""
    _directory().mkdir(parents=True, exist_ok=True, mode=0o700)
    sandbox.write_to(_entry(sandbox))


def remove(sandbox: Sandbox) -> None:
    """When nothing of it is left."""
    _entry(sandbox).unlink(missing_ok=True)


def sandboxes() -> list[Sandbox]:
    found = [read_file(path) for path in sorted(_directory().glob("*.json"))]
    return [sandbox for sandbox in found if sandbox is not None]


def orphans() -> list[Sandbox]:
    """Those whose owner has ended. One without an owner stays until it is taken down."""
    return [each for each in sandboxes() if each.owner and start_of(_pid(each)) != each.owner]


def start_of(pid: int) -> str:
    """`PID:TICKS`, which no later process has; empty for one that has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else f"{pid}:{words[19]}"


def _pid(sandbox: Sandbox) -> int:
    return int(sandbox.owner.partition(":")[0])


def _directory() -> Path:
    """Root's lives as long as namespaces do: until the machine is started again."""
    if os.geteuid() == 0:
        return Path("/run/actorrl-sandboxes")
    return Path(pwd.getpwuid(os.geteuid()).pw_dir, ".cache", "actorrl-sandboxes")


def _entry(sandbox: Sandbox) -> Path:
    return _directory() / f"{sandbox.name}.json"
