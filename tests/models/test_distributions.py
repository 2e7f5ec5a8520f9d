from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import distributions as td

from actorrl.models import distributions as d
from actorrl.models.action_distribution import Categorical

torch.set_num_threads(1)


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0])
def test_agree_with_torch_distributions(scale):
    logits, other = scale * torch.randn(7, 3, 5), scale * torch.randn(7, 3, 5)
    actions = torch.randint(5, (7, 3))
    p, q = td.Categorical(logits=logits), td.Categorical(logits=other)
    ours = Categorical(logits)
    torch.testing.assert_close(ours.logp(actions), p.log_prob(actions))
    torch.testing.assert_close(ours.entropy(), p.entropy(), atol=1e-5, rtol=1e-5)
    kl = ours.kl(Categorical(other))
    torch.testing.assert_close(kl, td.kl_divergence(p, q), atol=1e-4, rtol=1e-5)


def test_numpy_and_torch_log_probabilities_are_the_same():
    logits = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32) * 10
    actions, logp = d.sample_numpy(logits, np.random.default_rng(1))
    expected = Categorical(torch.from_numpy(logits)).logp(torch.from_numpy(actions))
    np.testing.assert_allclose(logp, expected, atol=2e-6)
    assert logp.dtype == np.float32 and actions.dtype == np.int64


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_actions_come_with_their_probabilities(kind):
    """Chi-square over 60,000 draws; 20.5 is passed by chance once in a thousand (5 d.o.f.)."""
    logits = np.array([0.0, 1.0, -1.0, 2.0, 0.5, -3.0], np.float32)
    many = np.tile(logits, (60_000, 1))
    if kind == "numpy":
        actions, _ = d.sample_numpy(many, np.random.default_rng(7))
    else:
        actions = d.sample(torch.from_numpy(many), torch.Generator().manual_seed(7)).numpy()
    expected = np.exp(logits) / np.exp(logits).sum() * len(many)
    counts = np.bincount(actions, minlength=6)
    assert ((counts - expected) ** 2 / expected).sum() < 20.5


def test_greedy_takes_the_most_probable_action_and_draws_nothing():
    logits = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    random = np.random.default_rng(1)
    before = random.bit_generator.state
    actions, logp = d.sample_numpy(logits, random, greedy=True)
    np.testing.assert_array_equal(actions, logits.argmax(1))
    np.testing.assert_array_equal(logp, d.log_softmax_numpy(logits).max(1))
    assert random.bit_generator.state == before


def test_an_action_ruled_out_by_minus_infinity_is_never_drawn():
    logits = np.zeros((10_000, 3), np.float32)
    logits[:, 1] = -np.inf
    actions, logp = d.sample_numpy(logits, np.random.default_rng(0))
    assert set(actions) == {0, 2} and np.isfinite(logp).all()


def test_the_argument_is_left_as_it_was():
    logits = np.ones((4, 3), np.float32)
    d.sample_numpy(logits, np.random.default_rng(0))
    assert (logits == 1).all()
