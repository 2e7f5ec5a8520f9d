"""Settings that an algorithm takes, since all do, and has no use for: said when one is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorrl.algorithms.config import AlgorithmConfig


def notices(config: AlgorithmConfig) -> list[str]:
    """A line for each that somebody has set."""
    found = dict(config.without_effect())
    if config.reproducible:  # rows of results repeat, so time has no say in them
        found["min_time_s_per_iteration"] = "an iteration is so many rows or updates"
    return [
        f"{name}: changes nothing here, {reason}"
        for name, reason in found.items()
        if config.is_given(name)
    ]
