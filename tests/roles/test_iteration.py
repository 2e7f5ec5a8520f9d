"""What a learner adds up between two reports."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from actorrl.roles.iteration import Iteration, Tally
from actorrl.runtime.mailbox import Later


def forget(num_updates: int, timesteps_total: int) -> None:
    """Where there is no successor."""


def test_means_and_the_largest_lag_are_those_of_all_numbers_and_begin_anew() -> None:
    random = np.random.default_rng(0)
    losses, lags = random.normal(size=500), random.integers(0, 9, 500)
    tally = Tally(forget)
    for loss, lag in zip(losses.tolist(), lags.tolist(), strict=True):
        tally.count_update({"loss": loss}, 0.1)
        tally.count_lag(lag)
    tally.count_update({"rare": 3.0}, 0.1)
    report = tally.take()
    assert report["stats"] == {"loss": pytest.approx(losses.mean()), "rare": 3.0}
    assert report["policy_lag_mean"] == pytest.approx(lags.mean())
    assert report["policy_lag_max"] == lags.max()
    empty = tally.take()
    assert (empty["stats"], empty["policy_lag_mean"], empty["policy_lag_max"]) == ({}, 0, 0)


def test_one_number_that_is_none_is_not_averaged_away() -> None:
    tally = Tally(forget)
    for number in (1.0, math.nan, 2.0):
        tally.count_update({"loss": number}, 0.1)
    assert math.isnan(tally.take()["stats"]["loss"])


def test_a_long_run_without_a_report_keeps_no_more_than_a_short_one() -> None:
    sizes = []
    for updates in (10, 10_000):
        tally = Tally(forget)
        for _ in range(updates):
            tally.count_update({"loss": 0.5}, 0.1)
            tally.count_lag(1)
        sizes.append(len(pickle.dumps(tally)))
    assert sizes[1] < sizes[0] + 20


def test_a_successor_is_told_of_all_that_was_counted_after_a_checkpoint_too() -> None:
    told: list[tuple[int, int]] = []
    tally = Tally(lambda *counts: told.append(counts))
    tally.count_experience(8, [[1.0]])
    tally.go_on_from(5, 100)
    tally.count_update({"loss": 1.0}, 0.1)
    tally.count_experience(4, [])
    assert told == [(0, 8), (5, 100), (6, 100), (6, 104)]
    report = tally.take()
    assert (report["num_updates"], report["timesteps_total"]) == (6, 104)
    assert (report["episodes"], tally.take()["episodes"]) == ([[1.0]], [])


def test_an_iteration_is_complete_once_updates_env_steps_and_time_are_all_there() -> None:
    tally = Tally(forget)
    tally.go_on_from(5, 100)
    iteration = Iteration(6, 104, ends_at=-math.inf, stay=False, later=Later())
    assert not iteration.complete(tally)
    tally.count_update({}, 0.1)
    assert not iteration.complete(tally)
    tally.count_experience(4, [])
    assert iteration.complete(tally)
    assert not Iteration(6, 104, ends_at=math.inf, stay=False, later=Later()).complete(tally)
