from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.losses import policy_gradient as pg
from actorrl.models.action_distribution import Categorical
from tests.losses import reference

torch.set_num_threads(1)
T, B, A = 6, 3, 4


def example(seed=0, next_step=True):
    """Random columns in float64, with logits and actions; values as a learner has them."""
    random = np.random.default_rng(seed)
    columns = reference.random_fragment(seed, T, B, next_step)
    return columns, {
        "logits": random.normal(size=(T, B, A)),
        "actions": random.integers(A, size=(T, B)),
        "behaviour_logp": -random.exponential(size=(T, B)),
    }


def tensor(x, gradient=False):
    return torch.from_numpy(x.copy()).requires_grad_(gradient)


def of_actions(logits, actions):
    """What the losses take: log-probabilities of the actions, and entropies."""
    dist = Categorical(logits)
    return {"logp": dist.logp(torch.as_tensor(actions)), "entropy": dist.entropy()}


def constants(advantages, targets, valid):
    given = {"advantages": advantages, "value_targets": targets, "valid": valid}
    return {name: tensor(x) for name, x in given.items()}


def numeric_gradient(function, x, step=1e-6):
    """Central differences, one entry at a time."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


@pytest.mark.parametrize("seed", range(3))
def test_a2c_loss_and_its_gradient_agree_with_the_slow_reference(seed):
    columns, more = example(seed)
    advantages, targets = reference.lambda_returns(**columns, gamma=0.99, lambda_=0.95)
    logits, values = tensor(more["logits"], True), tensor(columns["values"], True)
    loss = pg.a2c_loss(
        **of_actions(logits, more["actions"]),
        values=values,
        **constants(advantages, targets, columns["valid"]),
        vf_loss_coeff=0.7,
        entropy_coeff=0.03,
    )
    loss.total.backward()

    def slow(logits, values):
        fixed = (more["actions"], advantages, targets, columns["valid"], 0.7, 0.03)
        return reference.actor_critic_loss(logits, values, *fixed)

    total, parts = slow(more["logits"], columns["values"])
    assert loss.total.item() == pytest.approx(total, abs=1e-9)
    assert loss.metrics["policy_loss"].item() == pytest.approx(parts["policy"], abs=1e-9)
    assert loss.metrics["vf_loss"].item() == pytest.approx(parts["value"], abs=1e-9)
    assert loss.metrics["entropy"].item() == pytest.approx(parts["entropy"], abs=1e-9)
    by_logits = numeric_gradient(lambda x: slow(x, columns["values"])[0], more["logits"])
    by_values = numeric_gradient(lambda x: slow(more["logits"], x)[0], columns["values"])
    np.testing.assert_allclose(logits.grad, by_logits, atol=1e-6)
    np.testing.assert_allclose(values.grad, by_values, atol=1e-6)


@pytest.mark.parametrize("next_step", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_impala_loss_and_its_gradient_agree_with_the_slow_reference(next_step, seed):
    columns, more = example(seed, next_step)
    logits, values = tensor(more["logits"], True), tensor(columns["values"], True)
    given = {n: tensor(x) for n, x in columns.items() if n != "values"}
    settings = {"gamma": 0.97, "rho_bar": 1.2, "c_bar": 0.9, "pg_rho_bar": 1.5, "lambda_": 0.95}
    loss = pg.impala_loss(
        **of_actions(logits, more["actions"]),
        values=values,
        behaviour_logp=tensor(more["behaviour_logp"]),
        **given,
        **settings,
        vf_loss_coeff=0.4,
        entropy_coeff=0.02,
    )
    loss.total.backward()

    p = np.exp(more["logits"]) / np.exp(more["logits"]).sum(-1, keepdims=True)
    logp = np.log(np.take_along_axis(p, more["actions"][..., None], -1)[..., 0])
    vs, advantages, rhos, _ = reference.vtrace(more["behaviour_logp"], logp, **columns, **settings)

    def slow(logits, values):  # targets and advantages are constants of the gradient
        fixed = (more["actions"], advantages, vs, columns["valid"], 0.4, 0.02)
        return reference.actor_critic_loss(logits, values, *fixed)[0]

    assert loss.total.item() == pytest.approx(slow(more["logits"], columns["values"]), abs=1e-9)
    assert loss.metrics["rho_mean"].item() == pytest.approx(rhos[columns["valid"]].mean())
    assert loss.metrics["rho_max"].item() == pytest.approx(rhos.max())
    by_logits = numeric_gradient(lambda x: slow(x, columns["values"]), more["logits"])
    by_values = numeric_gradient(lambda x: slow(more["logits"], x), columns["values"])
    np.testing.assert_allclose(logits.grad, by_logits, atol=1e-6)
    np.testing.assert_allclose(values.grad, by_values, atol=1e-6)


def test_float32_losses_agree_to_1e_5():
    columns, more = example(4)
    advantages, targets = reference.lambda_returns(**columns, gamma=0.99, lambda_=0.95)
    fixed = (advantages, targets, columns["valid"])
    expected, _ = reference.actor_critic_loss(
        more["logits"], columns["values"], more["actions"], *fixed, 0.5, 0.01
    )
    taken = of_actions(tensor(more["logits"]).float(), more["actions"])
    values = tensor(columns["values"]).float()
    loss = pg.a2c_loss(**taken, values=values, **constants(*fixed))
    assert loss.total.item() == pytest.approx(expected, abs=1e-5)


def test_an_invalid_row_has_no_gradient_and_no_share_in_the_mean():
    columns, more = example(1)
    valid = columns["valid"]
    assert not valid.all()
    logits, values = tensor(more["logits"], True), tensor(columns["values"], True)
    wild = np.where(valid, 1.0, np.nan)
    taken = of_actions(logits, more["actions"])
    loss = pg.a2c_loss(**taken, values=values, **constants(wild, wild, valid))
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert (logits.grad[~valid] == 0).all() and (values.grad[~valid] == 0).all()


def test_means_divide_by_valid_rows_and_no_valid_row_gives_zero():
    x = torch.tensor([[1.0, 2.0], [3.0, float("inf")]])
    valid = torch.tensor([[True, True], [True, False]])
    assert pg.mean_valid(x, valid).item() == 2.0
    assert pg.mean_valid(x, torch.zeros_like(valid)).item() == 0.0


def test_explained_variance_is_1_for_targets_and_0_for_a_constant():
    targets = torch.randn(10, 4)
    valid = torch.rand(10, 4) < 0.8

    def explained(values):
        return pg.value_metrics(values, targets, valid)["vf_explained_var"].item()

    assert explained(targets) == pytest.approx(1.0)
    assert explained(torch.full((10, 4), 3.0)) == pytest.approx(0.0, abs=1e-5)


def test_the_size_of_targets_is_that_of_the_valid_ones():
    random = np.random.default_rng(2)
    targets, valid = random.normal(3.0, 2.0, (10, 4)), random.random((10, 4)) < 0.8
    wild = tensor(np.where(valid, targets, np.nan))
    found = pg.value_metrics(wild, wild, torch.from_numpy(valid))["vf_targets_rms"].item()
    assert found == pytest.approx(np.sqrt((targets[valid] ** 2).mean()), abs=1e-5)
