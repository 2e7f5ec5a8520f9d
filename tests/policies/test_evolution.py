from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary

from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ConfigError
from actorrl.models.model_config import ModelConfig
from actorrl.policies.evolution import EvolutionPolicy, perturbation

VECTOR = Box(-np.inf, np.inf, (5,))
TORQUE = Box(-2.0, 2.0, (2,), np.float32)


def slow_outputs(policy, parameters, obs, hiddens):
    """Layer by layer, one observation after another."""
    sizes = [5, *hiddens, len(policy.model.net[-1].bias)]
    out = []
    for x in obs:
        start = 0
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            weight = parameters[start : start + inputs * outputs].reshape(outputs, inputs)
            start += inputs * outputs
            x = weight @ x + parameters[start : start + outputs]
            start += outputs
            x = np.tanh(x) if layer < len(hiddens) else x
        out.append(x)
    return np.stack(out)


@pytest.mark.parametrize("hiddens", [[], [8], [8, 6]])
def test_each_environment_acts_with_parameters_of_its_own(hiddens):
    policy = EvolutionPolicy(VECTOR, TORQUE, model_config=ModelConfig(fcnet_hiddens=hiddens))
    random = np.random.default_rng(0)
    size = len(policy.parameters)
    parameters = random.normal(size=(4, size)).astype(np.float32)
    obs = random.normal(size=(4, 5)).astype(np.float32)
    found = policy.act_with(parameters, obs)
    for b in range(4):
        expected = np.tanh(slow_outputs(policy, parameters[b], obs[b : b + 1], hiddens))
        np.testing.assert_allclose(found[b : b + 1], expected, atol=1e-5)


def test_the_filter_lies_beside_the_weights_and_is_loaded_with_them():
    policy, other = (EvolutionPolicy(VECTOR, TORQUE, seed=i) for i in range(2))
    policy.set_filter(np.arange(5.0), np.full(5, 2.0))
    other.load_flat(policy.flat_weights(), 3)
    obs = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32) + 2
    np.testing.assert_array_equal(other.act(obs).actions, policy.act(obs).actions)
    scaled = (obs - np.arange(5.0)) / 2
    plain = EvolutionPolicy(VECTOR, TORQUE, seed=0)
    np.testing.assert_allclose(policy.act(obs).actions, plain.act(scaled).actions, atol=1e-6)


def test_discrete_actions_are_the_largest_output_and_noise_is_only_for_a_box():
    policy = EvolutionPolicy(VECTOR, Discrete(3), action_noise=0.5)
    obs = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    np.testing.assert_array_equal(policy.act(obs).actions, policy.act(obs, explore=False).actions)
    box = EvolutionPolicy(VECTOR, TORQUE, action_noise=0.1)
    still, noisy = box.act(obs, explore=False).actions, box.act(obs).actions
    assert not np.array_equal(still, noisy) and np.abs(noisy).max() <= 1.0


def test_noise_does_not_clip_the_actions_of_a_box_without_bounds():
    wide = Box(-np.inf, np.inf, (2,))
    policy = EvolutionPolicy(VECTOR, wide, action_noise=0.1)
    policy.parameters[-2:] = [7.0, -9.0]  # biases
    actions = policy.act(np.zeros((50, 5), np.float32)).actions
    np.testing.assert_allclose(actions.mean(0), [7.0, -9.0], atol=0.1)
    assert actions.std(0) == pytest.approx(0.1, abs=0.05)


def test_an_action_that_is_masked_is_never_the_largest():
    space = preprocessor_for(Dict(action_mask=MultiBinary(3), x=Box(-1, 1, (2,)))).space
    policy = EvolutionPolicy(space, Discrete(3), seed=1)
    obs = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    obs[:, :3] = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    policy.set_filter(np.full(5, 0.3), np.full(5, 0.5))  # the mask is read before it is filtered
    np.testing.assert_array_equal(policy.act(obs).actions, np.arange(60) % 3)
    np.testing.assert_array_equal(policy.greedy(torch.from_numpy(obs))[0], np.arange(60) % 3)
    obs[:, :3] = 1.0
    assert len(set(policy.act(obs).actions.tolist())) > 1, "else the mask alone says nothing"
    with pytest.raises(ConfigError, match="action_mask, but the action space"):
        EvolutionPolicy(space, TORQUE)


def test_a_seed_gives_the_same_noise_everywhere():
    np.testing.assert_array_equal(perturbation(7, 100), perturbation(7, 100))
    assert not np.array_equal(perturbation(7, 100), perturbation(8, 100))
    assert perturbation(7, 10_000).std() == pytest.approx(1.0, abs=0.05)


def test_an_lstm_is_refused():
    with pytest.raises(ConfigError, match="use_lstm"):
        EvolutionPolicy(VECTOR, TORQUE, model_config=ModelConfig(use_lstm=True))
