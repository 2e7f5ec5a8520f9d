"""The logs on a host that is not the driver's, in `workdir/logs/RUN_ID`: its agent's own, and those
of earlier runs, which nobody but the next run's agent looks after.

An agent touches its run's folder now and then. So the folder of a run that goes on is never old, on
other hosts neither, where they share it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

from actorrl.runtime import strays

KEPT = 5
UNUSED_S = 30 * 24 * 3600
TOUCH_S = 3600.0
_RUN_ID = re.compile(r"[0-9a-f]{16}")  # whatever has another name is somebody else's


def write_own(folder: Path, host: str) -> list[int]:
    """From now on the agent's output goes there. Where it went before: the line to the driver, on
    which the last words still go, may break."""
    fd = os.open(folder / f"agent-{host}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    before = [os.dup(1), os.dup(2)]  # their end would look like ours
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    return before


def remove_old(own: Path, now: float) -> None:
    """Those of runs that have been over for long, but for the newest few. `own` is this run's
    folder, beside theirs; `now` is the time of day."""
    if not _RUN_ID.fullmatch(own.name):
        return
    touch(own, now)
    with contextlib.suppress(OSError):  # then they stay
        beside = [p for p in own.parent.iterdir() if _RUN_ID.fullmatch(p.name)]
        folders = [folder for folder in beside if not folder.is_symlink()]
        for folder in sorted(folders, key=_used, reverse=True)[KEPT:]:
            if folder != own and now - _used(folder) > UNUSED_S and not strays.of_run(folder.name):
                shutil.rmtree(folder, ignore_errors=True)


def touch(own: Path, now: float) -> None:
    """Its run goes on."""
    with contextlib.suppress(OSError):
        os.utime(own, (now, now))


def _used(folder: Path) -> float:
    """When; one that is being removed by another run's agent is the newest."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return float("inf")
