"""How often the bytes of observations are copied between an environment and a training batch.

    ACTORRL_COUNT_COPIES=1 actorrl launch ...

counts them, and every result row has the answer under `info.copies`. Without the variable, which is
read once at import, a place that copies costs the test of a constant:

    if copies.COUNTING:
        copies.note("message", name, array.nbytes)

A byte on its way passes *stages*; each tells how many bytes of observations passed it, and how many
it copied: all of them (once, or more often), or none where the next stage works on the same memory.
With replay there are two ways, into its memory and out of it. What two neighbouring fragments need
(the observation at the cut, the frames before it) travels in both.
"""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Mapping
from typing import Any

VARIABLE = "ACTORRL_COUNT_COPIES"
COUNTING = bool(os.environ.get(VARIABLE))
STAGES = {
    "env": "within a vectoriser, before observations are where the fragment has them",
    "fragment": "from the environment's own buffer into the fragment",
    "rows": "from fragments to rows for replay",
    "message": "into a message of a worker: shared memory, or what a socket takes",
    "insert": "into replay's memory",
    "sample": "out of replay's memory",
    "sampled_message": "into a message of a replay shard",
    "batch": "into the learner's batch",
}
_OUT_OF_REPLAY = ("sample", "sampled_message", "batch")

Totals = dict[str, list[int]]  # stage -> bytes that passed, bytes copied
_totals: Totals = collections.defaultdict(lambda: [0, 0])
_counted: set[str] = set()


def count(*columns: str) -> None:
    """These hold observations; said by whoever names columns. The transport only carries them."""
    _counted.update(columns)


def note(stage: str, name: str, passed: int, copied: int | None = None) -> None:
    """A column "name" or "policy/name" passes a stage, which copies all of it, or `copied` bytes.
    Columns without observations do not count. One thread's."""
    if name.rpartition("/")[2] in _counted:
        total = _totals[stage]
        total[0] += passed
        total[1] += passed if copied is None else copied


def note_all(stage: str, columns: Mapping[str, Any], times: int = 1) -> None:
    """All of these arrays pass a stage, which copies each byte so many times."""
    for name, column in columns.items():
        note(stage, name, column.nbytes, times * column.nbytes)


def totals() -> Totals:
    """Of this process."""
    return {stage: list(total) for stage, total in _totals.items()}


def clear() -> None:
    """Forget what an earlier run in this process has counted."""
    _totals.clear()


def merged(parts: Iterable[Totals]) -> Totals:
    """The sums over several processes."""
    sums: Totals = collections.defaultdict(lambda: [0, 0])
    for part in parts:
        for stage, (passed, copied) in part.items():
            sums[stage][0] += passed
            sums[stage][1] += copied
    return dict(sums)


def per_stage(found: Totals, num_env_steps: int) -> dict[str, dict[str, float]]:
    """For each stage: how often it copied a byte, and how many bytes for each env step."""
    return {
        stage: {"times": copied / passed, "bytes_per_env_step": copied / max(1, num_env_steps)}
        for stage, (passed, copied) in found.items()
        if passed
    }


def summary(stages: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """`stages`, and how often a byte was copied on its way to the batch, or with replay into its
    memory, and from there to the batch."""
    ways = {"times_to_batch": list(stages)}
    if "insert" in stages:
        to_replay = [stage for stage in stages if stage not in _OUT_OF_REPLAY]
        ways = {"times_to_replay": to_replay, "times_to_batch": list(_OUT_OF_REPLAY)}
    return {
        **{way: sum(stages[s]["times"] for s in on if s in stages) for way, on in ways.items()},
        "stages": {stage: dict(stages[stage]) for stage in STAGES if stage in stages},
    }
