"""The processes of one run on this machine, known by ACTORRL_RUN_ID in their environment.

Never by name: another run, or another user's process, is not touched.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


def of_run(run_id: str | None) -> list[psutil.Process]:
    """All but this process itself; empty while the run has no id yet."""
    if run_id is None:
        return []
    import psutil

    return [process for process in psutil.process_iter() if _belongs(process, run_id)]


def grandchildren_of_run(run_id: str | None) -> list[psutil.Process]:
    """Those that this process has not started itself: all but the agents of this machine."""
    me = os.getpid()
    return [process for process in of_run(run_id) if _parent(process) != me]


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: it holds nothing but its exit code."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _belongs(process: psutil.Process, run_id: str) -> bool:
    import psutil

    try:
        mine = process.environ().get("ACTORRL_RUN_ID") == run_id
        return mine and process.pid != os.getpid() and is_alive(process)
    except (psutil.Error, OSError):  # ended meanwhile, or another user's
        return False


def _parent(process: psutil.Process) -> int | None:
    import psutil

    try:
        return process.ppid()
    except psutil.Error:
        return None


def kill(found: Iterable[psutil.Process]) -> None:
    import psutil

    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()
