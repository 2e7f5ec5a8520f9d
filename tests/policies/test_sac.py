from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from actorrl.data import columns as c
from actorrl.errors import ConfigError
from actorrl.models import gaussian
from actorrl.models.action_distribution import Categorical
from actorrl.models.model_config import ModelConfig
from actorrl.policies.sac import SACPolicy

torch.set_num_threads(1)
VECTOR = Box(-np.inf, np.inf, (4,))
TORQUE = Box(-2.0, 2.0, (2,))


def observations(batch):
    return np.random.default_rng(0).normal(size=(batch, 4)).astype(np.float32)


@pytest.mark.parametrize("activation", ["relu", "silu"])  # in NumPy and in torch
def test_the_stored_log_probability_is_the_learners(activation):
    config = ModelConfig(fcnet_activation=activation)
    policy = SACPolicy(VECTOR, TORQUE, model_config=config)
    obs = observations(50)
    act = policy.act(obs)
    assert act.actions.shape == (50, 2) and np.abs(act.actions).max() < 1
    inputs = policy.actor(torch.from_numpy(obs))
    u = gaussian.unsquash(torch.from_numpy(act.actions))
    logp = gaussian.squashed_log_prob(inputs, u).detach()
    np.testing.assert_allclose(act.extras[c.ACTION_LOGP], logp, atol=1e-5)
    mode = policy.act(obs, explore=False).actions
    np.testing.assert_allclose(mode, inputs[:, :2].detach().tanh(), atol=1e-6)


def test_samples_for_learning_carry_gradients_into_the_actor():
    policy = SACPolicy(VECTOR, TORQUE)
    obs = torch.from_numpy(observations(7))
    actions, logp = policy.sample(obs)
    one, two = policy.q_values(obs, actions)
    (torch.minimum(one, two) - 0.1 * logp).sum().backward()
    assert policy.flat.gradient[policy.flat.span("actor")].abs().sum() > 0


def test_a_discrete_space_has_logits_and_all_values():
    policy = SACPolicy(VECTOR, Discrete(3))
    obs = observations(40)
    act = policy.act(obs)
    logits = policy.actor(torch.from_numpy(obs))
    logp = Categorical(logits).logp(torch.from_numpy(act.actions)).detach()
    np.testing.assert_allclose(act.extras[c.ACTION_LOGP], logp, atol=1e-5)
    one, two = policy.q_values(torch.from_numpy(obs))
    assert one.shape == two.shape == (40, 3)
    greedy = policy.act(obs, explore=False).actions
    np.testing.assert_array_equal(greedy, logits.argmax(1))


@pytest.mark.parametrize("space", [TORQUE, Discrete(3)])
def test_the_first_steps_are_evenly_random(space):
    policy = SACPolicy(VECTOR, space, random_steps=3000)
    policy.timesteps = 2999
    act = policy.act(observations(3000))
    if isinstance(space, Discrete):
        np.testing.assert_allclose(np.bincount(act.actions) / 3000, 1 / 3, atol=0.04)
        np.testing.assert_allclose(act.extras[c.ACTION_LOGP], np.log(1 / 3))
    else:
        assert act.actions.std() == pytest.approx(2 / np.sqrt(12), rel=0.05)
        np.testing.assert_allclose(act.extras[c.ACTION_LOGP], 2 * np.log(1 / 2))


def test_the_target_has_the_same_shape_and_follows():
    for space in (TORQUE, Discrete(3)):
        policy = SACPolicy(VECTOR, space)
        target = policy.make_target()
        np.testing.assert_array_equal(target.flat_weights(), policy.flat_weights())


@pytest.mark.parametrize("space", [MultiBinary(2), Box(-np.inf, np.inf, (2,))])
def test_other_action_spaces_are_refused_by_name(space):
    with pytest.raises(ConfigError) as error:
        SACPolicy(VECTOR, space)
    assert str(space) in str(error.value)
