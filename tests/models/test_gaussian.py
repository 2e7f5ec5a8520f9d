from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution
from torch.distributions import kl_divergence as torch_kl

from actorrl.models import gaussian

torch.set_num_threads(1)


def inputs(rows=50, size=3, seed=0, low=-1.5):
    random = np.random.default_rng(seed)
    mean, log_std = random.normal(size=(rows, size)), random.uniform(low, 0.5, (rows, size))
    return torch.tensor(np.concatenate([mean, log_std], axis=1), dtype=torch.float32)


def reference(x):
    mean, log_std = x.double().chunk(2, dim=-1)
    return Independent(Normal(mean, log_std.exp()), 1)


def test_log_probability_entropy_and_kl_are_torchs():
    p, q = inputs(), inputs(seed=1)
    x = gaussian.sample(p)
    close = {"atol": 1e-5, "rtol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(gaussian.log_prob(p, x), reference(p).log_prob(x.double()), **close)
    torch.testing.assert_close(gaussian.entropy(p), reference(p).entropy(), **close)
    torch.testing.assert_close(gaussian.kl(p, q), torch_kl(reference(p), reference(q)), **close)
    ours = gaussian.log_prob_numpy(p.numpy(), x.numpy())
    np.testing.assert_allclose(ours, gaussian.log_prob(p, x), atol=1e-5)


def test_leading_axes_are_free():
    p = inputs(24).view(2, 3, 4, 6)
    x = gaussian.sample(p)
    assert x.shape == (2, 3, 4, 3)
    flat = gaussian.log_prob(p.view(24, 6), x.view(24, 3))
    torch.testing.assert_close(gaussian.log_prob(p, x).flatten(), flat)


@pytest.mark.parametrize("squashed", [False, True])
def test_samples_for_acting_and_for_learning_have_the_right_moments(squashed):
    row = inputs(1, 2)
    many = row.expand(40_000, -1)
    draw = gaussian.squashed_sample_numpy if squashed else gaussian.sample_numpy
    acted, logp = draw(many.numpy().copy(), np.random.default_rng(0))
    generator = torch.Generator().manual_seed(0)
    learned = gaussian.sample(many, generator)
    exact = reference(row).base_dist
    if squashed:
        learned = learned.tanh()
        acted, learned = np.arctanh(acted), learned.atanh()
        assert logp.dtype == np.float32
    for x in (acted, learned.numpy()):
        np.testing.assert_allclose(x.mean(0), exact.mean[0], atol=4 * 2 / 200)
        np.testing.assert_allclose(x.std(0), exact.stddev[0], rtol=0.03)


def test_the_log_probability_stored_when_acting_is_the_learners():
    p = inputs(200)
    x, logp = gaussian.sample_numpy(p.numpy(), np.random.default_rng(0))
    np.testing.assert_allclose(logp, gaussian.log_prob(p, torch.tensor(x)), atol=1e-5)
    actions, logp = gaussian.squashed_sample_numpy(p.numpy(), np.random.default_rng(0))
    u = gaussian.unsquash(torch.tensor(actions))
    np.testing.assert_allclose(logp, gaussian.squashed_log_prob(p, u), atol=2e-5, rtol=1e-5)


def test_without_exploration_the_mode_is_taken():
    p = inputs(20)
    mean = p[:, :3].numpy()
    random = np.random.default_rng(0)
    np.testing.assert_allclose(gaussian.sample_numpy(p.numpy(), random, greedy=True)[0], mean)
    squashed, _ = gaussian.squashed_sample_numpy(p.numpy(), random, greedy=True)
    np.testing.assert_allclose(squashed, np.tanh(mean), atol=1e-6)


def test_the_squashed_log_probability_is_torchs_and_integrates_to_one():
    p = inputs()
    u = gaussian.sample(p)
    exact = TransformedDistribution(Normal(*_moments(p)), [TanhTransform()])
    expected = exact.log_prob(u.double().tanh()).sum(-1)
    ours = gaussian.squashed_log_prob(p, u)
    torch.testing.assert_close(ours, expected, atol=1e-3, rtol=1e-4, check_dtype=False)
    grid = torch.linspace(-0.99999, 0.99999, 400_001).unsqueeze(1)
    one = torch.tensor([[0.3, -0.5]]).expand(len(grid), -1)
    density = gaussian.squashed_log_prob(one, gaussian.unsquash(grid)).exp()
    assert density.mean().item() * 2 == pytest.approx(1.0, abs=1e-3)


def _moments(p):
    mean, log_std = p.double().chunk(2, dim=-1)
    return mean, log_std.exp()


def test_the_tanh_correction_is_exact_far_out():
    """log(1 - tanh(u)^2) = log 4 - 2|u| far out, where the naive form is log 0."""
    u = torch.tensor([20.0, -20.0, 50.0, 0.0])
    expected = torch.tensor([np.log(4) - 40, np.log(4) - 40, np.log(4) - 100, 0.0])
    torch.testing.assert_close(gaussian.log_tanh_slope(u), expected, check_dtype=False)
    x = u.clone().requires_grad_(True)
    gaussian.log_tanh_slope(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_gradients_flow_through_samples():
    p = inputs(5).requires_grad_(True)
    actions, logp = gaussian.squashed_sample(p)
    (actions.sum() + logp.sum()).backward()
    assert (p.grad != 0).all() and torch.isfinite(p.grad).all()


def test_deviations_of_squashed_ones_are_bounded():
    wild = torch.tensor([[0.0, 0.0, -100.0, 100.0]])
    assert gaussian.clamp_log_std(wild).tolist() == [[0.0, 0.0, -20.0, 2.0]]
