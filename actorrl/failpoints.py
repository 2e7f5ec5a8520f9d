"""Places where a test makes a process fail: between two durable steps, in the middle of a write.

    ACTORRL_FAILPOINTS="learner.before_publish=kill@3,checkpoint.after_tmp=kill"

names points, what happens there, and at which passing (the first, unless said; `@3+`: at the third
and all later ones). Without the variable, which is read once at import, a point costs the test of a
constant:

    if failpoints.ACTIVE:
        failpoints.reach("checkpoint.after_tmp")

What can happen: `kill` (SIGKILL), `stop` (SIGSTOP, until somebody sends SIGCONT), `raise` (a
RuntimeError), `full` (the OSError of a full disk), `no_memory` (that of no memory),
`sleep:SECONDS`.

A process that is started again would fail at the same place again. With ACTORRL_FAILPOINTS_ONCE, a
folder, each point fires once in all: a file named after it says so, written just before, which also
tells a test when that was.
"""

from __future__ import annotations

import collections
import errno
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

VARIABLE = "ACTORRL_FAILPOINTS"
ONCE_VARIABLE = "ACTORRL_FAILPOINTS_ONCE"
POINTS = {
    "checkpoint.after_file": "a file of a checkpoint is on disk, others may be missing",
    "checkpoint.after_tmp": "the hidden folder is whole, its place still holds the older one",
    "checkpoint.between_renames": "the older one of that name is set aside, the new not in place",
    "checkpoint.after_rename": "in place, what it replaces not yet removed",
    "checkpoint.before_removal": "one that is no longer kept is about to be removed",
    "memory.create": "the agent is about to make shared memory for a slab",
    "weights.mid_publish": "the new weights are partly written, the old ones still announced",
    "learner.before_publish": "an update is made, nobody has its weights",
    "shard.before_insert": "a fragment is taken, none of it stored",
    "shard.mid_insert": "its rows are stored, not yet counted",
    "worker.before_send": "a fragment is collected, not sent",
}
ACTIONS = ("kill", "stop", "raise", "full", "no_memory", "sleep")


class FailpointError(ValueError):
    """The variable names a point or an action that does not exist."""


class Plan(NamedTuple):
    """What happens at a point, and when."""

    action: str
    passing: int
    and_later: bool


def parse(text: str) -> dict[str, Plan]:
    """What the variable says, by point; FailpointError names what is wrong."""
    plan = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        point, _, rest = entry.partition("=")
        action, _, when = rest.partition("@")
        passing = when.removesuffix("+")
        if point not in POINTS:
            raise FailpointError(f"{VARIABLE}: no point {point!r}, there are {sorted(POINTS)}")
        if action.partition(":")[0] not in ACTIONS or not (passing or "1").isdecimal():
            raise FailpointError(f"{VARIABLE}: {entry!r} is not POINT=ACTION[@N] of {ACTIONS}")
        plan[point] = Plan(action, int(passing or "1"), when.endswith("+"))
    return plan


ACTIVE = bool(os.environ.get(VARIABLE))
_plan = parse(os.environ.get(VARIABLE, ""))
_passed: collections.Counter[str] = collections.Counter()


def reach(point: str) -> None:
    """Called at a point, and only if `ACTIVE`. Fails as the plan says."""
    assert point in POINTS, point
    if point not in _plan:
        return
    plan = _plan[point]
    _passed[point] += 1
    is_due = _passed[point] == plan.passing or (plan.and_later and _passed[point] > plan.passing)
    if is_due and _is_first(point):
        _fail(point, plan.action)


def _is_first(point: str) -> bool:
    """Whether it fires for the first time in all processes, where that is asked for."""
    folder = os.environ.get(ONCE_VARIABLE)
    if not folder:
        return True
    try:
        with open(Path(folder) / point, "x") as file:
            file.write(f"{time.time()} {os.getpid()}\n")
        return True
    except FileExistsError:
        return False


def _fail(point: str, action: str) -> None:
    match action.partition(":"):
        case ("kill", _, _):
            os.kill(os.getpid(), signal.SIGKILL)
        case ("stop", _, _):
            os.kill(os.getpid(), signal.SIGSTOP)
        case ("raise", _, _):
            raise RuntimeError(f"failpoint {point}")
        case ("full", _, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case ("no_memory", _, _):
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        case ("sleep", _, seconds):
            time.sleep(float(seconds))
