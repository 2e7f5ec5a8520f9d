from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.losses.vtrace import vtrace
from tests.losses import reference

torch.set_num_threads(1)


def with_log_probabilities(columns, seed, spread=1.0):
    random = np.random.default_rng(1000 + seed)
    behaviour = -random.exponential(size=columns["rewards"].shape)
    target = behaviour + spread * random.normal(size=behaviour.shape)
    return {"behaviour_logp": behaviour, "target_logp": target, **columns}


def tensors(columns, dtype=torch.float32):
    return {
        name: torch.from_numpy(x) if x.dtype == bool else torch.from_numpy(x).to(dtype)
        for name, x in columns.items()
    }


@pytest.mark.parametrize("next_step", [True, False])
@pytest.mark.parametrize("T", [1, 2, 3, 10, 33])
@pytest.mark.parametrize(
    ("rho_bar", "c_bar", "pg_rho_bar", "lambda_"),
    [(1.0, 1.0, 1.0, 1.0), (2.0, 0.7, 1.5, 0.9), (0.5, 1.3, 10.0, 0.0), (1e9, 1e9, 1e9, 1.0)],
)
def test_agrees_with_the_papers_sum_of_products(next_step, T, rho_bar, c_bar, pg_rho_bar, lambda_):
    for seed in range(4):
        columns = reference.random_fragment(seed, T, 5, next_step)
        columns = with_log_probabilities(columns, seed, spread=0.5)
        settings = (0.97, rho_bar, c_bar, pg_rho_bar, lambda_)
        expected = reference.vtrace(*columns.values(), *settings)
        exact = vtrace(**tensors(columns, torch.float64), **named(settings))
        single = vtrace(**tensors(columns), **named(settings))
        for result, wanted in zip(exact, expected, strict=True):
            np.testing.assert_allclose(result.numpy(), wanted, rtol=1e-10, atol=1e-10)
        for result, wanted in zip(single, expected, strict=True):
            np.testing.assert_allclose(result.numpy(), wanted, rtol=1e-5, atol=1e-5)


def named(settings):
    names = ("gamma", "rho_bar", "c_bar", "pg_rho_bar", "lambda_")
    return dict(zip(names, settings, strict=True))


@pytest.mark.parametrize("next_step", [True, False])
def test_without_lag_it_is_the_n_step_return(next_step):
    columns = reference.random_fragment(3, 20, 6, next_step)
    logp = np.full(columns["rewards"].shape, -0.3)
    result = vtrace(**tensors({"behaviour_logp": logp, "target_logp": logp, **columns}), gamma=0.9)
    advantages, targets = reference.lambda_returns(**columns, gamma=0.9, lambda_=1.0)
    np.testing.assert_allclose(result.vs, targets, atol=1e-5)
    np.testing.assert_allclose(result.pg_advantages, advantages, atol=1e-5)
    np.testing.assert_array_equal(result.rhos, columns["valid"].astype(np.float32))


def test_no_number_behind_an_end_reaches_a_row_before_it():
    columns = tensors(with_log_probabilities(reference.random_fragment(5, 30, 4), 5))
    ends = columns["terminateds"] | columns["truncateds"]
    before = vtrace(**columns, gamma=0.99)
    for b in range(4):
        end = int(ends[:, b].nonzero()[0])
        changed = {name: x.clone() for name, x in columns.items()}
        for name in ("behaviour_logp", "target_logp", "rewards", "values", "next_values"):
            changed[name][end + 1 :, b] = 1e6 * torch.randn(29 - end)
        after = vtrace(**changed, gamma=0.99)
        for x, y in zip(before, after, strict=True):
            assert torch.equal(x[: end + 1, b], y[: end + 1, b])


def test_what_invalid_rows_hold_reaches_nothing_even_if_it_is_nan():
    columns = tensors(with_log_probabilities(reference.random_fragment(6, 30, 4), 6))
    invalid = ~columns["valid"]
    assert invalid.any()
    before = vtrace(**columns, gamma=0.99)
    for name in ("behaviour_logp", "target_logp", "rewards", "values", "next_values"):
        columns[name][invalid] = float("nan")
    after = vtrace(**columns, gamma=0.99)
    for x, y in zip(before, after, strict=True):
        assert torch.equal(x, y)
        assert (y[invalid] == 0).all()


def test_the_value_behind_a_termination_is_not_looked_at():
    columns = tensors(with_log_probabilities(reference.random_fragment(7, 30, 4, False), 7))
    before = vtrace(**columns, gamma=0.99)
    columns["next_values"][columns["terminateds"]] = float("nan")
    after = vtrace(**columns, gamma=0.99)
    for x, y in zip(before, after, strict=True):
        assert torch.equal(x, y)


def test_nothing_carries_a_gradient():
    columns = tensors(with_log_probabilities(reference.random_fragment(8, 5, 2), 8))
    for name in ("target_logp", "values", "next_values"):
        columns[name].requires_grad_(True)
    assert not any(x.requires_grad for x in vtrace(**columns, gamma=0.99))


def test_a_wrong_shape_is_refused():
    columns = tensors(with_log_probabilities(reference.random_fragment(9, 5, 2), 9))
    columns["next_values"] = columns["next_values"][:-1]
    with pytest.raises(AssertionError):
        vtrace(**columns, gamma=0.99)
