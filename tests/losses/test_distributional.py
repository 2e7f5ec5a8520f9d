from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.losses.distributional import categorical_td, project
from tests.losses import reference_q as reference

torch.set_num_threads(1)
N, A, Z = 30, 3, 11


def example(seed):
    """Returns beyond both ends of the support [-5, 5], terminations among them."""
    random = np.random.default_rng(seed)
    return {
        "logits_tm1": random.normal(size=(N, A, Z)),
        "actions": random.integers(A, size=N),
        "rewards_n": random.normal(size=N) * 4,
        "discounts": random.choice([0.99, 0.9, 0.0], size=N),
        "q_next_chooser": random.normal(size=(N, A)),
        "logits_next_target": random.normal(size=(N, A, Z)),
        "support": np.linspace(-5, 5, Z),
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_projection_agrees_with_the_slow_reference(seed):
    rows = example(seed)
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.ones(Z), size=N)
    arguments = (probabilities, rows["rewards_n"], rows["discounts"], rows["support"])
    projected = project(*(torch.from_numpy(x).float() for x in arguments))
    np.testing.assert_allclose(projected, reference.project(*arguments), atol=1e-5)
    np.testing.assert_allclose(projected.sum(1), 1.0, atol=1e-6)


def test_mass_that_falls_on_an_atom_exactly_is_not_lost():
    support = torch.linspace(-2, 2, 5)
    probabilities = torch.tensor([[0.1, 0.2, 0.4, 0.2, 0.1]])
    one, zero = torch.ones(1), torch.zeros(1)
    moved_by_one = project(probabilities, one, one, support)
    torch.testing.assert_close(moved_by_one, torch.tensor([[0.0, 0.1, 0.2, 0.4, 0.3]]))
    terminated = project(probabilities, 0.5 * one, zero, support)
    torch.testing.assert_close(terminated, torch.tensor([[0.0, 0.0, 0.5, 0.5, 0.0]]))


@pytest.mark.parametrize("seed", range(3))
def test_divergences_agree_with_the_slow_reference(seed):
    rows = example(seed)
    given = {n: torch.from_numpy(x) for n, x in rows.items()}
    given = {n: x.float() if x.is_floating_point() else x for n, x in given.items()}
    expected = reference.categorical_td(*rows.values())
    np.testing.assert_allclose(categorical_td(**given), expected, atol=1e-5, rtol=1e-5)


def test_the_gradient_is_that_of_the_cross_entropy_and_only_the_prediction_has_one():
    """softmax - target, at the chosen action's logits."""
    given = {n: torch.from_numpy(x) for n, x in example(5).items()}
    for name in ("logits_tm1", "logits_next_target", "q_next_chooser"):
        given[name].requires_grad_(True)
    categorical_td(**given).sum().backward()
    assert given["logits_next_target"].grad is None and given["q_next_chooser"].grad is None
    best = given["q_next_chooser"].argmax(1)
    rows = torch.arange(N)
    following = given["logits_next_target"][rows, best].softmax(-1)
    target = project(following, given["rewards_n"], given["discounts"], given["support"])
    expected = torch.zeros(N, A, Z, dtype=torch.float64)
    chosen = given["logits_tm1"][rows, given["actions"]].softmax(-1)
    expected[rows, given["actions"]] = chosen - target
    torch.testing.assert_close(given["logits_tm1"].grad, expected.detach())


def test_the_divergence_of_equal_distributions_is_zero():
    logits = torch.randn(1, 1, Z)
    zero, one = torch.zeros(1), torch.ones(1)
    divergence = categorical_td(
        logits, torch.tensor([0]), zero, one, torch.zeros(1, 1), logits, torch.linspace(-5, 5, Z)
    )
    assert divergence.item() == pytest.approx(0.0, abs=1e-6)
