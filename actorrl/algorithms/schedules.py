"""Settings that change over the env steps of a run: lr, the entropy's weight, replay's beta."""

from __future__ import annotations

import itertools

Schedule = list[tuple[float, float]]


def schedule_lines(key: str, schedule: Schedule | None) -> list[str]:
    """What is wrong with a schedule over env steps."""
    steps = [step for step, _ in schedule or [(0.0, 0.0)]]
    if steps and all(b > a for a, b in itertools.pairwise(steps)):
        return []
    return [f"{key}: env steps {steps} must rise, as in [[0, 1e-3], [1e6, 0]]"]
