from __future__ import annotations

import numpy as np
import pytest

from actorrl.losses.evolution import ars_step, best_directions, centered_ranks, mirrored_gradient


def slow_ranks(returns):
    """Each return's mean place in the sorted order, from -1/2 to 1/2."""
    flat = sorted(returns.ravel())
    out = np.zeros(returns.shape)
    for place in np.ndindex(returns.shape):
        places = [i for i, value in enumerate(flat) if value == returns[place]]
        out[place] = np.mean(places) / (len(flat) - 1) - 0.5
    return out


@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_over_all_returns_and_shared_by_equal_ones(seed):
    returns = np.random.default_rng(seed).integers(0, 6, size=(8, 2)).astype(float)
    np.testing.assert_allclose(centered_ranks(returns), slow_ranks(returns), atol=1e-12)
    np.testing.assert_allclose(centered_ranks(1000 * returns + 7), centered_ranks(returns))


def test_returns_that_are_all_equal_give_no_step():
    returns = np.full((4, 2), 500.0)
    noises = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(mirrored_gradient(centered_ranks(returns), noises, 0.1), 0.0)
    np.testing.assert_array_equal(ars_step(returns, noises), 0.0)


def test_the_mirrored_gradient_of_a_plane_is_its_slope():
    """F(x) = a x: (F+ - F-) / (2 sigma) noise is (a noise) noise, whose mean is a."""
    random = np.random.default_rng(0)
    slope, sigma = np.array([2.0, -1.0, 0.5]), 0.3
    noises = random.normal(size=(20_000, 3))
    scores = np.stack([noises @ slope * sigma, -noises @ slope * sigma], axis=1)
    np.testing.assert_allclose(mirrored_gradient(scores, noises, sigma), slope, atol=0.06)


def test_a_step_of_ars_by_hand():
    """Two of three pairs are used, with returns 9 and 7; sigma_R is over their four returns."""
    returns = np.array([[1.0, 9.0], [5.0, 4.0], [7.0, 3.0]])
    noises = np.array([[1.0, 0.0], [100.0, 100.0], [0.0, 1.0]])
    used = best_directions(returns, 2)
    np.testing.assert_array_equal(used, [0, 2])
    deviation = np.std([1.0, 9.0, 7.0, 3.0])
    expected = (-8.0 * noises[0] + 4.0 * noises[2]) / (2 * deviation)
    np.testing.assert_allclose(ars_step(returns[used], noises[used]), expected)
