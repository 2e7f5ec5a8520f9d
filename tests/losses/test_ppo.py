"""PPO's loss against a slow version from the formula, and the rule for its KL term."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.losses.policy_gradient import normalised
from actorrl.losses.ppo import adapted_kl_coeff, ppo_loss
from tests.losses import reference

torch.set_num_threads(1)
SHAPES = [(7, 3), (20,)]
SETTINGS = [(0.2, None, 0.5, 0.01, 0.0), (0.3, 0.4, 1.0, 0.0, 0.2), (0.1, 2.0, 0.7, 0.03, 1.3)]


def example(shape, seed):
    """Random rows, some of them not valid and full of NaN; KL and entropy as if of a network."""
    random = np.random.default_rng(seed)
    columns = {
        "logp": -random.exponential(size=shape),
        "old_logp": -random.exponential(size=shape),
        "entropy": random.random(shape),
        "kl": random.random(shape),
        "values": random.normal(size=shape),
        "old_values": random.normal(size=shape),
        "advantages": random.normal(size=shape),
        "value_targets": random.normal(size=shape),
        "valid": random.random(shape) < 0.8,
    }
    for name in ("old_logp", "old_values", "advantages", "value_targets"):
        columns[name][~columns["valid"]] = np.nan
    return columns


def named(settings):
    names = ("clip_param", "vf_clip_param", "vf_loss_coeff", "entropy_coeff", "kl_coeff")
    return dict(zip(names, settings, strict=True))


def with_gradient(columns):
    learned = ("logp", "values", "entropy", "kl")
    return {n: torch.from_numpy(x.copy()).requires_grad_(n in learned) for n, x in columns.items()}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient_agree_with_the_slow_reference(shape, settings):
    columns = example(shape, seed=len(shape))
    tensors = with_gradient(columns)
    loss = ppo_loss(**tensors, **named(settings))
    loss.total.backward()
    total, parts = reference.ppo_loss(*columns.values(), *settings)
    assert loss.total.item() == pytest.approx(total, abs=1e-5)
    assert loss.metrics["total_loss"].item() == pytest.approx(total, abs=1e-5)
    for name, value in parts.items():
        assert loss.metrics[name].item() == pytest.approx(value, abs=1e-5), name
    for name in ("logp", "values", "kl"):
        slow = numeric_gradient(columns, name, settings)
        given = tensors[name].grad
        given = np.zeros(shape) if given is None else given.numpy()
        np.testing.assert_allclose(given, slow, atol=1e-5)


def numeric_gradient(columns, name, settings, step=1e-6):
    gradient = np.zeros(columns[name].shape)
    for index in np.ndindex(gradient.shape):
        ends = []
        for sign in (1, -1):
            moved = columns[name].copy()
            moved[index] += sign * step
            ends.append(reference.ppo_loss(*{**columns, name: moved}.values(), *settings)[0])
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def test_a_ratio_beyond_the_clip_in_the_paying_direction_has_no_gradient():
    logp = torch.tensor([np.log(1.5), np.log(1.5), np.log(0.5)]).requires_grad_()
    zeros, valid = torch.zeros(3), torch.ones(3, dtype=torch.bool)
    advantages = torch.tensor([1.0, -1.0, -1.0])
    rows = dict.fromkeys(("old_logp", "entropy", "kl", "values", "old_values"), zeros)
    rows |= {"logp": logp, "advantages": advantages, "value_targets": zeros, "valid": valid}
    ppo_loss(**rows, **named((0.2, None, 0.0, 0.0, 0.0))).total.backward()
    assert logp.grad is not None
    np.testing.assert_allclose(logp.grad, [0.0, 1.5 / 3, 0.0], atol=1e-6)


def test_advantages_are_normalised_over_the_valid_rows_alone():
    advantages = torch.tensor([[1.0, 2.0], [3.0, np.nan], [1e9, 6.0]])
    valid = torch.tensor([[True, True], [True, False], [False, True]])
    given = normalised(advantages, valid)
    kept = np.array([1.0, 2.0, 3.0, 6.0])
    np.testing.assert_allclose(given[valid], (kept - 3.0) / kept.std(), atol=1e-6)
    assert not given[~valid].any()


@pytest.mark.parametrize(
    ("kl", "factor"),
    [(0.0, 0.5), (0.0049, 0.5), (0.0051, 1.0), (0.01, 1.0), (0.0199, 1.0), (0.0201, 1.5)],
)
def test_the_kl_terms_weight_follows_rllibs_rule(kl, factor):
    assert adapted_kl_coeff(0.2, kl, 0.01) == pytest.approx(0.2 * factor)
