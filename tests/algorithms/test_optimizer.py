"""The flat optimizer against torch's own classes, its schedule, and its state."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from actorrl.algorithms.a3c import A3CConfig, A3CUpdate
from actorrl.algorithms.config import GradientClip
from actorrl.algorithms.ddpg import DeterministicUpdate
from actorrl.algorithms.impala import IMPALAConfig, IMPALAUpdate
from actorrl.algorithms.optimizer import Optimizer
from actorrl.algorithms.restoring import checked
from actorrl.algorithms.td3 import TD3Config
from actorrl.policies.actor_critic import ActorCriticPolicy

RMSPROP = [(IMPALAConfig, IMPALAUpdate), (A3CConfig, A3CUpdate)]


def make_policy() -> ActorCriticPolicy:
    space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
    return ActorCriticPolicy(space, gym.spaces.Discrete(2), seed=3)


def gradients(policy: ActorCriticPolicy, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=policy.flat_weights().shape).astype(np.float32) for _ in range(count)]


def assert_steps_alike(policy, optimizer, weights, theirs):
    """Ours and torch's, from the same gradients."""
    for gradient in gradients(policy, 5):
        policy.set_flat_gradient(gradient)
        optimizer.step(0)
        weights.grad = torch.tensor(gradient)
        theirs.step()
    np.testing.assert_allclose(policy.flat_weights(), weights.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_a_step_is_that_of_torchs_class(name: str) -> None:
    policy = make_policy()
    optimizer = Optimizer(policy, 1e-2, name=name)
    weights = torch.nn.Parameter(torch.tensor(policy.flat_weights()))
    if name == "adam":
        theirs: torch.optim.Optimizer = torch.optim.Adam([weights], lr=1e-2, eps=1e-5)
    else:
        theirs = torch.optim.RMSprop([weights], lr=1e-2, alpha=0.99, eps=1e-5)
    assert_steps_alike(policy, optimizer, weights, theirs)


def test_the_gradient_is_clipped_and_its_norm_before_is_reported() -> None:
    policy = make_policy()
    (gradient,) = gradients(policy, 1)
    policy.set_flat_gradient(gradient)
    report = Optimizer(policy, 1e-3, clip=GradientClip(0.5)).step(0)
    assert float(report["grad_gnorm"]) == pytest.approx(np.linalg.norm(gradient), rel=1e-4)
    assert np.linalg.norm(policy.flat_gradient()) == pytest.approx(0.5, rel=1e-4)


def test_the_schedule_runs_on_env_steps() -> None:
    policy = make_policy()
    optimizer = Optimizer(policy, 1.0, lr_schedule=[(0, 1e-2), (100, 0.0)])
    policy.set_flat_gradient(gradients(policy, 1)[0])
    assert [optimizer.step(t)["cur_lr"] for t in (0, 50, 200)] == pytest.approx([1e-2, 5e-3, 0.0])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("config_class", "update_class"), RMSPROP)
def test_rmsprops_settings_are_those_of_torchs_class(
    config_class: Any, update_class: Any, momentum: float
) -> None:
    settings = {"opt_type": "rmsprop", "decay": 0.9, "epsilon": 0.1, "momentum": momentum}
    config = config_class().environment("CartPole-v1").training(lr=1e-2, grad_clip=None, **settings)
    update = update_class(config, checked(config), 3, "cpu")
    policy, optimizer = update.policy, update._optimizer
    weights = torch.nn.Parameter(torch.tensor(policy.flat_weights()))
    theirs = torch.optim.RMSprop([weights], lr=1e-2, alpha=0.9, eps=0.1, momentum=momentum)
    assert_steps_alike(policy, optimizer, weights, theirs)
    again = update_class(config, checked(config), 3, "cpu")
    again.load_state_dict(update.state_dict())
    again.policy.flat.load(policy.flat_weights())
    (gradient,) = gradients(policy, 1)
    for one in (update, again):
        one.policy.set_flat_gradient(gradient)
        one._optimizer.step(0)
    np.testing.assert_array_equal(policy.flat_weights(), again.policy.flat_weights())


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_it_goes_on_from_its_state_bit_by_bit(name: str) -> None:
    first, second = make_policy(), make_policy()
    one, other = Optimizer(first, 1e-2, name=name), Optimizer(second, 1e-2, name=name)
    *before, last = gradients(first, 4)
    for gradient in before:
        first.set_flat_gradient(gradient)
        one.step(0)
    other.load_state_dict(one.state_dict())
    second.flat.load(first.flat_weights())
    for policy, optimizer in ((first, one), (second, other)):
        policy.set_flat_gradient(last)
        optimizer.step(0)
    np.testing.assert_array_equal(first.flat_weights(), second.flat_weights())


def test_what_takes_no_gradient_is_left_alone() -> None:
    """Statistics of an observation filter, or layers that a user has frozen."""
    policy = make_policy()
    frozen = next(policy.model.parameters()).requires_grad_(False)
    before = frozen.detach().clone()
    optimizer = Optimizer(policy, 1e-2)
    inputs, values = policy.model(torch.ones(2, *policy.observation_space.shape))
    optimizer.minimize((inputs.sum() + values.sum()), 0)
    assert torch.equal(frozen, before)


def test_use_huber_reaches_the_critics_loss_of_td3() -> None:
    random = np.random.default_rng(0)
    obs, after = random.normal(size=(2, 6, 3)).astype(np.float32)
    rows = {"obs": obs, "new_obs": after, "actions": random.uniform(-1, 1, (6, 1))}
    rows |= {"rewards": np.full(6, 100.0), "discounts": np.zeros(6), "weights": np.ones(6)}
    losses = []
    for settings in ({}, {"use_huber": True, "huber_threshold": 1e6}, {"use_huber": True}):
        config = TD3Config().environment("Pendulum-v1").training(**settings)
        update = DeterministicUpdate(config, checked(config), 3, "cpu")
        batch = {name: torch.tensor(x, dtype=torch.float32) for name, x in rows.items()}
        losses.append(float(update(batch, 0)["critic_loss"]))
    plain, far, near = losses
    assert far == pytest.approx(plain, rel=1e-5)
    # two critics, differences of about 100: half the square each, or the difference
    assert 8000 < plain < 12000 and 180 < near < 220
