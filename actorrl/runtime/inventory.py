"""What this machine has: processors, memory, GPUs, and open files."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path

import psutil

from actorrl.runtime.placement import Host

_MANY_DESCRIPTORS = 1 << 20
# as a container sees its own control group, of either version
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def this_host(name: str = "local") -> Host:
    return Host(name, num_cpus(), memory_bytes(), gpu_ids())


def memory_bytes(limits: Iterable[str] = _MEMORY_LIMITS) -> int:
    """The machine's memory, or what a container may have of it."""
    sizes = [int(psutil.virtual_memory().total)]
    for limit in limits:
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            sizes.append(int(Path(limit).read_text()))
    return min(sizes)


def num_cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_ids() -> tuple[str, ...]:
    """UUIDs of the GPUs, less those that CUDA_VISIBLE_DEVICES hides; asks the driver's own tool, so
    that nothing here loads CUDA."""
    query = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        lines = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    devices = [tuple(part.strip() for part in line.split(",")) for line in lines.splitlines()]
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    if mask is None:
        return tuple(uuid for _, uuid in devices)
    allowed = [part.strip() for part in mask.split(",") if part.strip()]
    return tuple(uuid for index, uuid in devices if index in allowed or uuid in allowed)


def allow_descriptors(wanted: int | None = None) -> None:
    """Raise this process's limit of open files to `wanted`, or to all that it may have: an actor
    costs its agent several, and a peer two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = hard if wanted is None else min(hard, wanted)
    if hard == resource.RLIM_INFINITY:
        goal = wanted or _MANY_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < goal:
        resource.setrlimit(resource.RLIMIT_NOFILE, (goal, hard))
