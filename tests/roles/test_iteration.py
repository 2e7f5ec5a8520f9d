"""What a learner adds up between two reports."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

from actorrl.roles.iteration import Tally


def test_means_and_the_largest_lag_are_those_of_all_numbers_and_begin_anew() -> None:
    random = np.random.default_rng(0)
    losses, lags = random.normal(size=500), random.integers(0, 9, 500)
    tally = Tally()
    for loss, lag in zip(losses.tolist(), lags.tolist(), strict=True):
        tally.add({"loss": loss})
        tally.note_lag(lag)
    tally.add({"rare": 3.0})
    report = tally.take()
    assert report["stats"] == {"loss": pytest.approx(losses.mean()), "rare": 3.0}
    assert report["policy_lag_mean"] == pytest.approx(lags.mean())
    assert report["policy_lag_max"] == lags.max()
    empty = tally.take()
    assert (empty["stats"], empty["policy_lag_mean"], empty["policy_lag_max"]) == ({}, 0, 0)


def test_one_number_that_is_none_is_not_averaged_away() -> None:
    tally = Tally()
    for number in (1.0, math.nan, 2.0):
        tally.add({"loss": number})
    assert math.isnan(tally.take()["stats"]["loss"])


def test_a_long_run_without_a_report_keeps_no_more_than_a_short_one() -> None:
    sizes = []
    for updates in (10, 10_000):
        tally = Tally()
        for _ in range(updates):
            tally.add({"loss": 0.5})
            tally.note_lag(1)
        sizes.append(len(pickle.dumps(tally)))
    assert sizes[1] < sizes[0] + 20
