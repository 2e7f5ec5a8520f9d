"""Where a run's CPU seconds went, read from the totals in its newest row of results.

env         inside the environment
inference   the policy's forward for acting
copy        writing columns, n-step rows, gathering batches, replay's inserts and samples
codec       encoding fragments and writing them into slabs
weights     publishing and loading them
learner     updates, or the gradients that workers compute
runtime     messages, credit, timers, priorities: what lies between

and which part of the wall time the learner and the workers waited: for input, weights or credit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

_PHASE_OF = {
    "env": "env",
    "inference": "inference",
    "columns": "copy",
    "postprocess": "copy",
    "gather": "copy",
    "insert": "copy",
    "sample": "copy",
    "send": "codec",
    "weights": "weights",
    "update": "learner",
    "gradient": "learner",
    "runtime": "runtime",
    "priorities": "runtime",
}
PREFIX = "phase_"
_WAITS = "waited_"


def of_row(row: Mapping[str, Any], num_workers: int) -> dict[str, float]:
    """CPU seconds since the start by phase, as `phase_NAME`, of all workers, learner and shards;
    and wall seconds waited, as `waited_ROLE`, of the learner and of a worker."""
    found = {f"{PREFIX}{phase}": 0.0 for phase in dict.fromkeys(_PHASE_OF.values())}
    info = row["info"]
    for seconds, times in (
        (info["timing"]["rollout"], num_workers),
        (info["timing"]["learner"], 1),
        ({key.removeprefix("shards_"): s for key, s in info["learner"].items()}, 1),
    ):
        for name, phase in _PHASE_OF.items():
            found[f"{PREFIX}{phase}"] += seconds.get(f"cpu_{name}_s", 0.0) * times
    for role in ("learner", "rollout"):
        waits = (s for name, s in info["timing"][role].items() if name.startswith("wait_"))
        found[f"{_WAITS}{role}"] = sum(waits)
    return found


def sentence(more: Mapping[str, float]) -> str:
    """The shares in words, the largest first, who waited, and how much of the machine others used
    or nobody; empty without phases."""
    seconds = {k.removeprefix(PREFIX): s for k, s in more.items() if k.startswith(PREFIX)}
    total = sum(seconds.values())
    if not total:
        return ""
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    words = [f"{name} {s / total:.0%}" for name, s in ordered if s / total >= 0.005]
    beside = max(0.0, more["cpu_s"] - total) / max(more["cpu_s"], 1e-9)
    rest = 1 - more["cpu_s"] / (more["seconds"] * len(os.sched_getaffinity(0)))
    waited = [
        f"{role} waited {more[key] / more['seconds']:.0%} of the time"
        for role in ("learner", "rollout")
        if (key := f"{_WAITS}{role}") in more
    ]
    ends = [f"driver and agent {beside:.0%} beside", *waited, f"{rest:.0%} of the cores not used"]
    return f"{', '.join(words)}; {'; '.join(ends)}"
