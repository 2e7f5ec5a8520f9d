"""What a process and everything below it has used: CPU seconds, and memory shared fairly (PSS)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Usage:
    cpu_s: float
    pss_mib: float
    processes: int

    def since(self, before: Usage) -> dict[str, float]:
        return {
            "cpu_s": self.cpu_s - before.cpu_s,
            "pss_mib": self.pss_mib,
            "processes": self.processes,
        }


def of_tree(pid: int, memory: bool = True) -> Usage:
    """Of `pid` and its descendants that live. A child that has ended counts in its parent, if that
    waited for it."""
    cpu_s = pss = 0.0
    count = 0
    for process in tree(pid):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            cpu_s += times.user + times.system + times.children_user + times.children_system
            pss += process.memory_full_info().pss if memory else 0.0
            count += 1
    return Usage(cpu_s, pss / 2**20, count)


def tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []
