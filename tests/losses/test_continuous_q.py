from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.losses import continuous_q as losses
from actorrl.models import gaussian
from tests.losses import reference_q as reference

torch.set_num_threads(1)
N, A, K = 25, 4, 3


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def tensor(array, gradient=False):
    return torch.tensor(array, dtype=torch.float32, requires_grad=gradient)


def test_the_smaller_of_two_values_counts():
    one, two = normal(0, N), normal(1, N)
    np.testing.assert_allclose(losses.smallest([tensor(one), tensor(two)]), np.minimum(one, two))
    np.testing.assert_allclose(losses.smallest([tensor(one)]), tensor(one))


def test_targets_agree_with_the_reference_and_look_at_nothing_behind_a_termination():
    rewards, values = normal(0, N), normal(1, N)
    discounts = np.random.default_rng(2).choice([0.99, 0.9, 0.0], size=N)
    expected = reference.bootstrapped(rewards, discounts, values)
    values[discounts == 0] = np.nan
    found = losses.bootstrapped(tensor(rewards), tensor(discounts), tensor(values))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_smoothed_action_stays_near_and_within_bounds():
    actions = torch.tensor([[0.0], [0.9], [-0.2]])
    noise = torch.tensor([[2.0], [0.3], [-0.1]])
    found = losses.smoothed(actions, noise, 0.5)
    torch.testing.assert_close(found, torch.tensor([[0.5], [1.0], [-0.3]]))


@pytest.mark.parametrize("critics", [1, 2])
def test_the_critics_loss_agrees_with_the_reference(critics):
    values = [normal(i, N) for i in range(critics)]
    targets, weights = normal(5, N), np.abs(normal(6, N))
    loss, errors = losses.critic_loss(
        [tensor(v, True) for v in values], tensor(targets), tensor(weights)
    )
    expected, expected_errors = reference.critic_loss(values, targets, weights)
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(errors, expected_errors, atol=1e-5)
    assert loss.requires_grad and not errors.requires_grad


def test_the_critics_loss_may_go_on_as_a_line():
    values, targets, weights = normal(0, N), normal(5, N), np.abs(normal(6, N))
    loss, errors = losses.critic_loss([tensor(values)], tensor(targets), tensor(weights), 0.7)
    size = np.abs(values - targets)
    assert (size < 0.7).any() and (size > 0.7).any()
    each = np.where(size < 0.7, size**2 / 2, 0.7 * (size - 0.35))
    assert loss.item() == pytest.approx((weights * each).mean(), abs=1e-5)
    np.testing.assert_allclose(errors, size, atol=1e-5)


def test_soft_values_of_discrete_actions_agree_with_the_reference():
    values, logits = [normal(0, N, A), normal(1, N, A)], normal(2, N, A)
    found = losses.soft_value_discrete([tensor(v) for v in values], tensor(logits), tensor([0.3]))
    expected = reference.soft_value_discrete(values, logits, 0.3)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    loss = losses.soft_actor_loss_discrete(
        [tensor(v, True) for v in values], tensor(logits), tensor([0.3])
    )
    assert loss.item() == pytest.approx(-expected.mean(), abs=1e-5)
    assert not loss.requires_grad, "the critics are constants in the actor's loss"


def test_soft_values_of_sampled_actions_agree_with_the_formula():
    values, logp = [normal(0, N), normal(1, N)], normal(2, N)
    arguments = ([tensor(v) for v in values], tensor(logp), tensor([0.3]))
    expected = np.minimum(*values) - 0.3 * logp
    np.testing.assert_allclose(losses.soft_value(*arguments), expected, atol=1e-5)
    assert losses.soft_actor_loss(*arguments).item() == pytest.approx(-expected.mean(), abs=1e-5)


def test_the_log_probability_of_a_squashed_action_is_exact_where_tanh_rounds_to_one():
    inputs = np.concatenate([normal(0, N, K), normal(1, N, K) * 0.5], axis=1)
    u = normal(2, N, K) * 2
    expected = reference.squashed_log_prob(inputs[:, :K], inputs[:, K:], u)
    found = gaussian.squashed_log_prob(tensor(inputs), tensor(u))
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-5)
    far = torch.full((1, 1), 20.0)
    logp = gaussian.squashed_log_prob(torch.tensor([[20.0, 0.0]]), far)
    # 1 - tanh(u)^2 is 4 exp(-2 u) there, which float32 rounds to 0 if it is computed naively.
    assert logp.item() == pytest.approx(-0.5 * np.log(2 * np.pi) - np.log(4) + 40, abs=1e-4)


@pytest.mark.parametrize(("entropy", "rises"), [(0.1, True), (0.9, False)])
def test_the_temperature_rises_while_the_policy_is_too_certain(entropy, rises):
    log_alpha = torch.zeros(1, requires_grad=True)
    loss = losses.temperature_loss(log_alpha, torch.full((N,), entropy, requires_grad=True), 0.5)
    loss.backward()
    assert log_alpha.grad.item() == pytest.approx(entropy - 0.5)
    assert (log_alpha.grad.item() < 0) == rises, "a step goes against the gradient"


def test_entropy_of_a_coin_and_of_certainty():
    logits = torch.tensor([[0.0, 0.0], [50.0, -50.0]])
    np.testing.assert_allclose(losses.entropy_discrete(logits), [np.log(2), 0.0], atol=1e-6)
