from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from actorrl.errors import ConfigError
from actorrl.models.model_config import ModelConfig
from actorrl.policies.deterministic import DeterministicPolicy
from actorrl.policies.noise import GaussianNoise, OUNoise

torch.set_num_threads(1)
VECTOR, SCREEN = Box(-np.inf, np.inf, (4,)), Box(0, 255, (36, 40), np.uint8)
TORQUE = Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 4.0], np.float32))


def observations(batch, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, 4)).astype(np.float32)


def saturated(policy):
    """Weights as after training: actions all over [-1, 1]."""
    weights = policy.get_weights()
    weights["actor.output.weight"] *= 200
    policy.set_weights(weights)
    return policy


@pytest.mark.parametrize("activation", ["relu", "silu"])  # in NumPy and in torch
def test_acting_and_learning_see_the_same_actions(activation):
    policy = saturated(
        DeterministicPolicy(VECTOR, TORQUE, model_config=ModelConfig(fcnet_activation=activation))
    )
    obs = observations(20)
    act = policy.act(obs, explore=False)
    assert act.actions.shape == (20, 2) and act.actions.dtype == np.float32
    assert np.abs(act.actions).max() > 0.3
    actions = policy.actor(torch.from_numpy(obs)).detach()
    np.testing.assert_allclose(act.actions, actions, atol=1e-6)
    assert (policy.env_actions(act.actions) >= TORQUE.low).all()


def test_images_and_stacks():
    policy = DeterministicPolicy(SCREEN, TORQUE, frame_stack=3, twin_q=True)
    obs = np.random.default_rng(0).integers(0, 256, (5, 3, 36, 40), dtype=np.uint8)
    act = policy.act(obs, explore=False)
    one, two = policy.q_values(torch.from_numpy(obs), torch.from_numpy(act.actions))
    assert one.shape == (5,) and not torch.equal(one, two)


def test_noise_stays_within_bounds_and_can_be_off():
    policy = DeterministicPolicy(VECTOR, TORQUE, noise=GaussianNoise(np.array([0.0, 0.1, 5.0])))
    obs = observations(3)
    still = policy.act(obs, explore=False).actions
    drawn = np.stack([policy.act(obs).actions for _ in range(500)])
    assert np.abs(drawn).max() <= 1.0
    np.testing.assert_array_equal(drawn[:, 0], np.broadcast_to(still[0], (500, 2)))
    np.testing.assert_allclose(drawn[:, 1].std(0), 0.1, rtol=0.15)


def test_the_first_steps_are_evenly_random():
    policy = DeterministicPolicy(VECTOR, TORQUE, noise=GaussianNoise(0.0), random_steps=1000)
    policy.timesteps = 0
    first = policy.act(observations(1000)).actions
    assert abs(first.mean()) < 0.05 and first.std() == pytest.approx(2 / np.sqrt(12), rel=0.05)
    policy.timesteps = 1000
    obs = observations(5)
    np.testing.assert_array_equal(policy.act(obs).actions, policy.act(obs, explore=False).actions)


def test_ornstein_uhlenbeck_noise_has_inertia():
    """The stationary deviation is sigma / sqrt(1 - (1 - theta)^2), neighbours correlate 1-theta."""
    noise, random = OUNoise(sigma=0.2), np.random.default_rng(0)
    x = np.stack([noise(np.zeros((100, 2)), random) for _ in range(600)])[100:]
    assert x.std() == pytest.approx(0.2 / np.sqrt(1 - 0.85**2), rel=0.05)
    correlation = (x[1:] * x[:-1]).mean() / x.var()
    assert correlation == pytest.approx(0.85, abs=0.02)


def test_actor_and_critics_have_spans_of_their_own():
    policy = DeterministicPolicy(VECTOR, TORQUE, twin_q=True)
    actor, critics = policy.flat.span("actor"), policy.flat.span("critics")
    assert (actor.start, critics.stop) == (0, len(policy.flat_weights()))
    assert actor.stop == critics.start == sum(p.numel() for p in policy.model.actor.parameters())
    obs = torch.from_numpy(observations(3))
    policy.q_values(obs, policy.actor(obs))[0].sum().backward()
    assert policy.flat.gradient[actor].abs().sum() > 0
    assert policy.flat.gradient[policy.flat.span("critics.0")].abs().sum() > 0
    assert policy.flat.gradient[policy.flat.span("critics.1")].abs().sum() == 0


def test_the_target_follows_slowly():
    policy = DeterministicPolicy(VECTOR, TORQUE)
    target = policy.make_target()
    before = policy.flat_weights()
    np.testing.assert_array_equal(target.flat_weights(), before)
    policy.load_flat(before + 1.0, version=1)
    target.sync(0.1)
    np.testing.assert_allclose(target.flat_weights(), before + 0.1, atol=1e-5)
    obs = torch.from_numpy(observations(3))
    assert not target.model.q_values(obs, target.model.actor(obs))[0].requires_grad
    target.sync()
    np.testing.assert_array_equal(target.flat_weights(), policy.flat_weights())


@pytest.mark.parametrize("space", [Discrete(2), Box(-np.inf, np.inf, (2,))])
def test_other_action_spaces_are_refused_by_name(space):
    with pytest.raises(ConfigError) as error:
        DeterministicPolicy(VECTOR, space)
    assert str(space) in str(error.value) and "finite bounds" in str(error.value)


def test_an_lstm_is_refused():
    with pytest.raises(ConfigError, match="use_lstm"):
        DeterministicPolicy(VECTOR, TORQUE, model_config=ModelConfig(use_lstm=True))
