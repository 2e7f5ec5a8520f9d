"""How fragments make up a train batch: said when a run starts, and refused where it cannot be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorrl.algorithms.config import AlgorithmConfig

_MOST_FILLED = 2  # times what was asked for: beyond, the setting would mean nothing


def told(config: AlgorithmConfig) -> str:
    """In one line."""
    return _filled(config) + _shared(config)


def _shared(config: AlgorithmConfig) -> str:
    learners = config.resolved_num_learners()
    return f", shared by {learners} learners" if learners > 1 else ""


def _filled(config: AlgorithmConfig) -> str:
    if config.gathers == "dataset":
        return f"train batches of {config.train_batch_size} recorded rows"
    workers, envs = config.resolved_num_workers(), config.num_envs()
    rows, batch = config.fragment_length(), config.train_batch_size
    sampled = f"{envs} envs x {rows} ="
    if config.wants_whole_episodes():
        sampled += " at least"  # they end where they end
    if config.gathers == "rounds":
        size = workers * envs * rows
        return (
            f"{workers} workers x {sampled} {size} env steps per round, {_count(batch, size)}"
            f" rounds per train batch of {batch}"
        )
    size = envs * rows
    sends = f"each of {workers} workers sends {sampled} {size} env steps at a time"
    if config.gathers == "fragments":
        return f"{sends}, {_count(batch, size)} of these per train batch of {batch}"
    return sends


def lines(config: AlgorithmConfig) -> list[str]:
    """What is wrong with it."""
    return unfillable(config) + unshareable(config)


def unfillable(config: AlgorithmConfig) -> list[str]:
    """A train batch that was asked for and is smaller than what comes at once."""
    if not _is_asked(config) or not overfills(config):
        return []
    envs, rows, size = config.num_envs(), config.fragment_length(), _at_once(config)
    return [
        f"train_batch_size: {config.train_batch_size} is less than the {size} env steps that come"
        f" at once ({envs} envs x {rows} rows"
        f"{f' x {config.num_workers} workers' if size > envs * rows else ''}), expected a multiple"
        " of these, or a shorter rollout_fragment_length"
    ]


def envs_that_fit(config: AlgorithmConfig, most: int) -> int:
    """Of a worker, where nobody has said how many: `most`, or fewer where a train batch that was
    asked for would be less than what comes at once (RLlib has one environment per worker)."""
    if not _is_asked(config) or not _is_cut_to_rows(config):
        return most
    rows = config.fragment_length() * _workers_at_once(config)
    if most * rows <= _MOST_FILLED * config.train_batch_size:
        return most
    return max(1, config.train_batch_size // rows)


def unshareable(config: AlgorithmConfig) -> list[str]:
    """More learners than there are environments in a batch, between which it is cut."""
    learners, envs = config.resolved_num_learners(), config.num_envs()
    if config.gathers == "rounds":
        width = envs * config.resolved_num_workers()
    else:
        width = envs * math.ceil(config.train_batch_size / (envs * config.fragment_length()))
    if learners <= max(1, width):
        return []
    return [
        f"num_learners: {learners} is more than the {width} environments of a train batch, expected"
        f" at most {width}, or more num_envs_per_worker"
    ]


def overfills(config: AlgorithmConfig) -> bool:
    """Whether what comes at once is far more than a train batch."""
    if not _is_cut_to_rows(config):
        return False
    return _at_once(config) > _MOST_FILLED * config.train_batch_size


def _is_asked(config: AlgorithmConfig) -> bool:
    return bool(config.train_batch_size != type(config)().train_batch_size)


def _is_cut_to_rows(config: AlgorithmConfig) -> bool:
    is_said = config.rollout_fragment_length != "auto"
    return is_said and config.gathers in ("rounds", "fragments")


def _at_once(config: AlgorithmConfig) -> int:
    """Env steps."""
    return config.num_envs() * config.fragment_length() * _workers_at_once(config)


def _workers_at_once(config: AlgorithmConfig) -> int:
    return max(1, config.num_workers or 1) if config.gathers == "rounds" else 1


def _count(batch: int, size: int) -> str:
    return f"{max(1, math.ceil(batch / size))}"
