from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.losses.recursion import continuing, discounted_sums
from actorrl.losses.returns import lambda_returns
from tests.losses import reference

torch.set_num_threads(1)


def tensors(columns):
    return {
        name: torch.from_numpy(x) if x.dtype == bool else torch.from_numpy(x).float()
        for name, x in columns.items()
    }


@pytest.mark.parametrize("next_step", [True, False])
@pytest.mark.parametrize("T", [1, 2, 5, 20, 64])
@pytest.mark.parametrize("lambda_", [0.0, 0.5, 0.95, 1.0])
def test_agree_with_the_papers_sum(next_step, T, lambda_):
    for seed in range(4):
        columns = reference.random_fragment(seed, T, 5, next_step)
        advantages, targets = reference.lambda_returns(**columns, gamma=0.99, lambda_=lambda_)
        result = lambda_returns(**tensors(columns), gamma=0.99, lambda_=lambda_)
        np.testing.assert_allclose(result.advantages, advantages, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(result.value_targets, targets, rtol=1e-5, atol=1e-5)


def test_nan_in_invalid_rows_and_behind_terminations_reaches_nothing():
    columns = tensors(reference.random_fragment(1, 30, 4))
    before = lambda_returns(**columns, gamma=0.99, lambda_=0.95)
    for name in ("rewards", "values", "next_values"):
        columns[name][~columns["valid"]] = float("nan")
    columns["next_values"][columns["terminateds"]] = float("nan")
    after = lambda_returns(**columns, gamma=0.99, lambda_=0.95)
    for x, y in zip(before, after, strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("T", [1, 2, 3, 7, 8, 9, 100])
def test_doubling_sums_as_a_loop_over_rows_does(T):
    random = np.random.default_rng(T)
    deltas, decays = random.normal(size=(T, 3)), random.random((T, 3))
    expected, total = np.zeros((T, 3)), np.zeros(3)
    for t in reversed(range(T)):
        total = deltas[t] + decays[t] * total
        expected[t] = total
    given = torch.from_numpy(deltas), torch.from_numpy(decays)
    np.testing.assert_allclose(discounted_sums(*given), expected, rtol=1e-12)
    np.testing.assert_array_equal(given[0], deltas)  # the arguments stay as they were
    np.testing.assert_array_equal(given[1], decays)


def test_an_episode_goes_on_only_between_two_valid_rows_without_an_end():
    flags = {"terminateds": [0, 0, 1, 0, 0, 0, 0], "truncateds": [0, 0, 0, 0, 0, 1, 0]}
    valid = torch.tensor([[1, 1, 1, 0, 1, 1, 1]]).bool().T
    terminateds, truncateds = (torch.tensor([x]).bool().T for x in flags.values())
    goes_on = continuing(terminateds, truncateds, valid)
    assert goes_on[:, 0].tolist() == [True, True, False, False, True, False, False]
