"""`num_envs_per_worker: auto`: how many environments a worker should step together, measured on the
driver's machine before anything starts.

One forward of the network serves all of them, so more are faster, up to a point; but a fragment
grows with them, and the policy is older when it is learned from. So the fewest are taken that come
close to the fastest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from actorrl.algorithms.batch_arithmetic import overfills
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.setup import Setup
from actorrl.envs.check import EnvInfo
from actorrl.errors import ConfigError
from actorrl.roles.rollout_worker import make_source

CANDIDATES = (1, 2, 4, 8, 16, 32)
_ENOUGH = 0.9  # of the fastest
_WINDOWS, _WINDOW_S = 3, 0.1  # the fastest window counts: others may use the machine
_ROWS = 10  # of a fragment; one is collected before the windows, and at least one in each


class Measured(NamedTuple):
    """Env steps per second of one worker by its number of environments; the one to take."""

    rates: dict[int, float]

    @property
    def chosen(self) -> int:
        best = max(self.rates.values())
        return min(number for number, rate in self.rates.items() if rate >= _ENOUGH * best)

    def __str__(self) -> str:
        found = ", ".join(f"{number}: {rate:,.0f}" for number, rate in self.rates.items())
        return (
            f"num_envs_per_worker: {self.chosen} (auto; env steps/s of one worker by number of"
            f" environments: {found})"
        )


def with_num_envs(config: AlgorithmConfig, info: EnvInfo) -> EnvInfo:
    """Put a number in the place of "auto", and say so in the notices. It takes some seconds, more
    where environments are slow. Raises ConfigError where no number fits the other settings."""
    if config.num_envs_per_worker != "auto":
        return _with_those_that_fit(config, info)
    found = Measured(_rates(config, info))
    config.put("num_envs_per_worker", found.chosen)
    return dataclasses.replace(info, notices=[*info.notices, str(found)])


def _with_those_that_fit(config: AlgorithmConfig, info: EnvInfo) -> EnvInfo:
    default, fitting = config.num_envs_per_worker, config.num_envs()
    if fitting == default:
        return info
    config.put("num_envs_per_worker", fitting)
    notice = (
        f"num_envs_per_worker: {fitting} instead of {default}, so that fragments of"
        f" {config.fragment_length()} rows fill train_batch_size {config.train_batch_size}"
    )
    return dataclasses.replace(info, notices=[*info.notices, notice])


def _rates(config: AlgorithmConfig, info: EnvInfo) -> dict[int, float]:
    """More and more, as long as that pays."""
    rates: dict[int, float] = {}
    lines: list[str] = []
    for number in CANDIDATES:
        tried = config.copy()
        tried.num_envs_per_worker = number
        lines = tried.validate()
        if lines or (rates and overfills(tried)):
            break
        rates[number] = _rate(tried, info)
        if rates[number] < _ENOUGH * max(rates.values()):
            break
    if not rates:
        raise ConfigError(lines)
    return rates


def _rate(config: AlgorithmConfig, info: EnvInfo) -> float:
    """Env steps per second, environments and policy in one thread, as in a worker."""
    setup = Setup(info, config.seed or 0, lambda: None)
    workers = dataclasses.replace(setup.workers(config), fragment_length=_ROWS)
    policy = setup.acting(config, config.algorithm.make_policy)(0, workers.env_indices(0))
    env, collector = make_source(workers, 0, 0, policy)
    with contextlib.closing(env), _one_thread():
        collector.collect()
        return max(_window(collector) for _ in range(_WINDOWS))


def _window(collector: Any) -> float:
    """Env steps per second; one fragment at least."""
    first, started = collector.num_steps_total, time.perf_counter()
    while True:
        collector.collect()
        elapsed = time.perf_counter() - started
        if elapsed >= _WINDOW_S:
            return float((collector.num_steps_total - first) / elapsed)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
