"""The value head: its unit follows the size of the targets, and no value changes with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from actorrl.models.networks import MLP
from actorrl.models.value_head import ValueHead
from actorrl.policies.actor_critic import ActorCriticPolicy

torch.set_num_threads(1)


def test_no_value_changes_when_the_unit_does() -> None:
    head, features = ValueHead(8), torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        head.linear.bias.fill_(0.3)
        before = head(features)
        for mean_square in (1e4, 1e6, 0.0):
            head.adapt(torch.tensor(mean_square))
            torch.testing.assert_close(head(features), before)
    assert head.unit.item() > 10.0


@pytest.mark.parametrize(("rms", "unit"), [(100.0, 100.0), (3.0, 3.0), (0.01, 1.0)])
def test_the_unit_becomes_the_targets_root_mean_square_and_is_at_least_1(
    rms: float, unit: float
) -> None:
    head = ValueHead(4)
    for _ in range(2000):
        head.adapt(torch.tensor(rms**2))
    assert head.unit.item() == pytest.approx(unit, rel=1e-3)


def test_values_of_returns_like_cartpoles_are_learned_in_800_steps() -> None:
    """After which a plain layer, at Adam's 1e-3, still explains less than a fifth of them."""
    random = torch.Generator().manual_seed(1)
    obs = torch.randn(256, 4, generator=random)
    targets = 60.0 + 30.0 * torch.tanh(obs[:, 0] - obs[:, 1])
    with torch.random.fork_rng():
        torch.manual_seed(2)
        body, head = MLP(4, [64, 64]), ValueHead(64)
    parameters = [p for m in (body, head) for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, eps=1e-5)
    for _ in range(800):
        errors = (head(body(obs)) - targets) / head.unit
        optimizer.zero_grad()
        (0.5 * errors.square().mean()).backward()
        optimizer.step()
        head.adapt(targets.square().mean())
    left = (head(body(obs)) - targets).square().mean()
    assert left < 0.1 * targets.var()


def test_numpy_acts_with_the_unit_and_weights_carry_it() -> None:
    space = spaces.Box(-1, 1, (4,), np.float32)
    policy, other = (ActorCriticPolicy(space, spaces.Discrete(2), seed=seed) for seed in (0, 1))
    obs = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    before = policy.value_function(obs)
    for _ in range(50):
        policy.follow_value_targets(torch.tensor(80.0))
    other.load_flat(policy.flat_weights(), 1)
    unit = float(policy.model.value_head.unit)
    assert unit > 10
    assert float(policy.vf_weight(0.5)) == pytest.approx(0.5 / unit)
    assert float(policy.vf_weight(0.5, advantages_normalised=True)) == pytest.approx(0.5 / unit**2)
    for acting in (policy, other):
        np.testing.assert_allclose(acting.value_function(obs), before, rtol=1e-4)
        np.testing.assert_allclose(acting.act(obs).extras["vf_preds"], before, rtol=1e-4)
