"""How fragments make up a train batch: said when a run starts, and refused where it cannot be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorrl.algorithms.config import AlgorithmConfig

_MOST_FILLED = 2  # times what was asked for: beyond, the setting would mean nothing


def told(config: AlgorithmConfig) -> str:
    """In one line."""
    if config.gathers == "dataset":
        return f"train batches of {config.train_batch_size} recorded rows"
    workers, envs = config.resolved_num_workers(), config.num_envs_per_worker
    rows, batch = config.fragment_length(), config.train_batch_size
    sampled = f"{envs} envs x {rows}"
    if config.gathers == "rounds":
        size = workers * envs * rows
        return (
            f"{workers} workers x {sampled} = {size} env steps per round, {_count(batch, size)}"
            f" rounds per train batch of {batch}"
        )
    size = envs * rows
    sends = f"each of {workers} workers sends {sampled} = {size} env steps at a time"
    if config.gathers == "fragments":
        return f"{sends}, {_count(batch, size)} of these per train batch of {batch}"
    return sends


def unfillable(config: AlgorithmConfig) -> list[str]:
    """A train batch that was asked for and is smaller than what comes at once."""
    asked = config.train_batch_size != type(config)().train_batch_size
    if (
        not asked
        or config.rollout_fragment_length == "auto"
        or config.gathers not in ("rounds", "fragments")
    ):
        return []
    envs, rows = config.num_envs_per_worker, config.fragment_length()
    size = envs * rows * (max(1, config.num_workers or 1) if config.gathers == "rounds" else 1)
    if size <= _MOST_FILLED * config.train_batch_size:
        return []
    return [
        f"train_batch_size: {config.train_batch_size} is less than the {size} env steps that come"
        f" at once ({envs} envs x {rows} rows"
        f"{f' x {config.num_workers} workers' if size > envs * rows else ''}), expected a multiple"
        " of these, or a shorter rollout_fragment_length"
    ]


def _count(batch: int, size: int) -> str:
    return f"{max(1, math.ceil(batch / size))}"
