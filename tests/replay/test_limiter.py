"""The samples-per-insert limiter at many relative speeds."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorrl.replay.limiter import SamplesPerInsert


def run(limiter, chunk, batch, worker_turns, learner_turns, rounds=3000):
    """Workers and learner try in turns; returns how often both were stopped in a row."""
    stuck = 0
    for _ in range(rounds):
        moved = False
        for _ in range(worker_turns):
            if limiter.can_insert(chunk):
                limiter.inserted(chunk)
                moved = True
        for _ in range(learner_turns):
            if limiter.can_sample(batch):
                limiter.sampled(batch)
                moved = True
        stuck += not moved
    return stuck


@pytest.mark.parametrize(("worker_turns", "learner_turns"), [(1, 1), (10, 1), (1, 10)])
@pytest.mark.parametrize("target", [0.5, 1.0, 4.5, 8.0])
def test_the_ratio_holds_whoever_is_ten_times_slower(target, worker_turns, learner_turns):
    limiter = SamplesPerInsert(target, min_size=1000, tolerance=2000)
    assert run(limiter, 50, 512, worker_turns, learner_turns) == 0
    assert limiter.ratio == pytest.approx(target, rel=0.1)


@given(
    target=st.floats(0.1, 20.0),
    min_size=st.integers(0, 500),
    tolerance=st.floats(0.0, 1000.0),
    chunk=st.integers(1, 400),
    batch=st.integers(1, 600),
    turns=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
@settings(max_examples=100, deadline=None)
def test_nothing_blocks_both_sides_and_the_band_is_kept(
    target, min_size, tolerance, chunk, batch, turns
):
    limiter = SamplesPerInsert(target, min_size, tolerance)
    assert run(limiter, chunk, batch, *turns, rounds=200) == 0
    if limiter.num_inserted >= min_size:
        assert -tolerance - batch <= limiter.owed <= tolerance + chunk * target + 1e-6


@given(st.integers(1, 50), st.integers(0, 200))
def test_nothing_is_sampled_before_the_least_size(chunk, min_size):
    limiter = SamplesPerInsert(1.0, min_size)
    while limiter.num_inserted < min_size:
        assert not limiter.can_sample(1)
        assert limiter.can_insert(chunk)
        limiter.inserted(chunk)


def test_an_empty_replay_is_never_sampled():
    assert not SamplesPerInsert(1.0, min_size=0).can_sample(1)


def test_the_ratio_counts_inserts_after_the_least_size_only():
    limiter = SamplesPerInsert(2.0, min_size=100)
    limiter.inserted(100)
    assert math.isnan(limiter.ratio)
    limiter.inserted(50)
    limiter.sampled(100)
    assert limiter.ratio == 2.0
    assert limiter.owed == 0.0


@pytest.mark.parametrize("arguments", [(0.0,), (-1.0,), (float("nan"),), (1.0, -1), (1.0, 1, -0.5)])
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(ValueError):
        SamplesPerInsert(*arguments)
