from __future__ import annotations

import numpy as np
import pytest

from actorrl.data.moments import Moments, RunningMoments


def moments_of(rows, shift=0.0):
    running = RunningMoments(np.full(rows.shape[1], shift))
    for part in np.array_split(rows, 3):
        running.add(part)
    return running.moments()


@pytest.mark.parametrize("sizes", [(10, 20, 30), (1, 1, 50), (0, 5, 0)])
def test_merged_moments_are_those_of_all_rows_together(sizes):
    random = np.random.default_rng(0)
    parts = [random.normal(loc=i, scale=i + 1, size=(n, 4)) for i, n in enumerate(sizes)]
    merged = Moments.none((4,))
    for part in parts:
        merged = merged.merged(moments_of(part))
    rows = np.concatenate(parts)
    assert merged.rows == len(rows)
    np.testing.assert_allclose(merged.mean, rows.mean(0), atol=1e-12)
    np.testing.assert_allclose(merged.stddev, rows.std(0), atol=1e-12)


def test_a_large_offset_costs_no_digits_with_a_shift_near_it():
    rows = np.random.default_rng(0).normal(loc=1e8, size=(1000, 2))
    np.testing.assert_allclose(moments_of(rows, 1e8).stddev, rows.std(0), rtol=1e-6)


def test_elements_that_never_change_are_not_scaled():
    rows = np.ones((5, 2)) * [3.0, 4.0]
    np.testing.assert_array_equal(moments_of(rows).stddev, [1.0, 1.0])
    np.testing.assert_array_equal(Moments.none((2,)).stddev, [1.0, 1.0])
