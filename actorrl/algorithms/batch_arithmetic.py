"""How fragments make up a train batch: said when a run starts, and refused where it cannot be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actorrl.algorithms.config import AlgorithmConfig

SHORTEST_AUTO = 16  # rows: estimates over fewer are mostly the value function's own
_MOST_FILLED = 2  # times what was asked for: beyond, the setting would mean nothing
_SPARE = 0.1  # of a batch: room for the ends of episodes of ten steps


def told(config: AlgorithmConfig) -> str:
    """In one line."""
    return _filled(config) + _shared(config) + _spared(config)


def _shared(config: AlgorithmConfig) -> str:
    learners = config.resolved_num_learners()
    return f", shared by {learners} learners" if learners > 1 else ""


def _spared(config: AlgorithmConfig) -> str:
    """What more cores would be good for."""
    most = config.most_workers()
    if config.gathers != "rounds" or config.num_workers is not None:
        return ""
    if config.resolved_num_workers() >= most:
        return ""
    return f"; there are cores for {most} workers, expected more rows or num_workers to use them"


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
            f" rounds per train batch of {batch}{_one_more(config, size)}"
        )
    size = envs * rows
    sends = f"each of {workers} workers sends {sampled} {size} env steps at a time"
    if config.gathers == "fragments":
        return f"{sends}, {_count(batch, size)} of these per train batch of {batch}"
    return sends


def _one_more(config: AlgorithmConfig, size: int) -> str:
    """A batch has at least its env steps, and the rows between two episodes are none: where rounds
    fill it just so, another one is waited for whenever episodes end."""
    spare = -config.train_batch_size % size
    has_none = config.wants_whole_episodes() or config.autoreset == "same_step"
    if has_none or config.learns_from_rows or spare >= _SPARE * config.train_batch_size:
        return ""
    return ", one more as soon as episodes end (the row between two is no env step)"


def lines(config: AlgorithmConfig) -> list[str]:
    """What is wrong with it."""
    return unfillable(config) + unshareable(config)


def unfillable(config: AlgorithmConfig) -> list[str]:
    """A train batch that was asked for and is smaller than what comes at once."""
    if not _is_asked(config) or not overfills(config):
        return []
    envs, rows, workers = config.num_envs(), config.fragment_length(), _workers_at_once(config)
    return [
        f"train_batch_size: {config.train_batch_size} is less than the {_at_once(config)} env steps"
        f" that come at once ({envs} envs x {rows} rows{f' x {workers} workers' * (workers > 1)}),"
        " expected a multiple of these, or a shorter rollout_fragment_length"
    ]


def workers_that_fit(config: AlgorithmConfig, most: int) -> int:
    """Where nobody has said how many: `most`, or fewer where a round of all would be more than a
    train batch. How much is learned from at once must not depend on the number of cores."""
    if config.gathers != "rounds":
        return most
    envs = 1 if config.num_envs_per_worker == "auto" else config.num_envs_per_worker
    rows = envs * _shortest_fragment(config)
    return max(1, min(most, config.train_batch_size // rows))


def envs_that_fit(config: AlgorithmConfig, most: int) -> int:
    """Of a worker, where nobody has said how many: `most`, or fewer where a train batch that was
    asked for would be less than what comes at once (RLlib has one environment per worker)."""
    if not _is_asked(config) or not _is_of_rows(config):
        return most
    rows = _shortest_fragment(config) * _workers_at_once(config)
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
    if not _is_of_rows(config):
        return False
    return _at_once(config) > _MOST_FILLED * config.train_batch_size


def _is_asked(config: AlgorithmConfig) -> bool:
    return config.is_given("train_batch_size")


def _is_of_rows(config: AlgorithmConfig) -> bool:
    """Whether a train batch is made up of env steps that come together."""
    return config.gathers in ("rounds", "fragments") and config.collects_fragments


def _shortest_fragment(config: AlgorithmConfig) -> int:
    """Rows."""
    said = config.rollout_fragment_length
    return SHORTEST_AUTO if said == "auto" else said


def _at_once(config: AlgorithmConfig) -> int:
    """Env steps."""
    return config.num_envs() * config.fragment_length() * _workers_at_once(config)


def _workers_at_once(config: AlgorithmConfig) -> int:
    return config.resolved_num_workers() if config.gathers == "rounds" else 1


def _count(batch: int, size: int) -> str:
    return f"{max(1, math.ceil(batch / size))}"
