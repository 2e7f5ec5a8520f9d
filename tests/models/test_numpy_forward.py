from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from actorrl.models.actor_critic import ActorCriticNetwork
from actorrl.models.catalog import ModelConfig
from actorrl.models.flat_parameters import FlatParameters
from actorrl.models.q_network import QNetwork

torch.set_num_threads(1)
SPACE = Box(-np.inf, np.inf, (2, 3))
CONFIGS = [
    {},
    {"fcnet_activation": "relu", "post_fcnet_hiddens": [16]},
    {"vf_share_layers": False},
    {"vf_share_layers": False, "post_fcnet_hiddens": [16, 8], "fcnet_hiddens": [32]},
    {"fcnet_hiddens": []},
    {"fcnet_hiddens": [], "post_fcnet_hiddens": [8]},
]


@pytest.mark.parametrize("settings", CONFIGS)
@pytest.mark.parametrize("batch", [1, 8, 33])
def test_actor_critic_agrees_with_torch_to_1e_6(settings, batch):
    network = ActorCriticNetwork(SPACE, 5, 1, ModelConfig(**settings))
    flat = FlatParameters(network)
    forward = network.numpy_forward()
    random = np.random.default_rng(0)
    for _ in range(3):
        # As after training: weights of ordinary size in the heads too. No refresh in between.
        flat.load((0.3 * random.normal(size=len(flat.numpy()))).astype(np.float32))
        obs = random.normal(size=(batch, 2, 3))
        logits, values = forward(obs)
        with torch.inference_mode():
            expected = network(torch.from_numpy(obs))
        np.testing.assert_allclose(logits, expected[0], atol=3e-6, rtol=1e-6)
        np.testing.assert_allclose(values, expected[1], atol=3e-6, rtol=1e-6)
        assert logits.dtype == values.dtype == np.float32


@pytest.mark.parametrize("dueling", [True, False])
@pytest.mark.parametrize("hiddens", [[], [16]])
def test_action_values_agree_with_torch_to_1e_6(dueling, hiddens):
    config = ModelConfig(post_fcnet_hiddens=hiddens)
    network = QNetwork(SPACE, 5, 1, config, dueling)
    FlatParameters(network)
    forward = network.numpy_forward()
    obs = np.random.default_rng(0).normal(size=(9, 2, 3)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(obs))
    np.testing.assert_allclose(forward(obs), expected, atol=1e-6)


def test_it_follows_an_optimizer_step():
    network = ActorCriticNetwork(SPACE, 5, 1, ModelConfig())
    flat = FlatParameters(network)
    forward = network.numpy_forward()
    obs = np.ones((4, 2, 3), np.float32)
    before, _ = forward(obs)
    network(torch.from_numpy(obs))[0].square().sum().backward()
    torch.optim.SGD([flat.vector], lr=0.5).step()
    after, _ = forward(obs)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, network(torch.from_numpy(obs))[0].detach(), atol=1e-6)


def test_images_lstms_and_large_networks_stay_with_torch():
    image = Box(0, 255, (84, 84), np.uint8)
    assert ActorCriticNetwork(image, 3, 4, ModelConfig()).numpy_forward() is None
    assert QNetwork(image, 3, 4, ModelConfig()).numpy_forward() is None
    large = {"fcnet_hiddens": [1024, 1024]}
    for settings in ({"use_lstm": True}, large, {"fcnet_activation": "silu"}):
        network = ActorCriticNetwork(SPACE, 3, 1, ModelConfig(**settings))
        assert network.numpy_forward() is None


def test_dueling_values_are_state_value_plus_centred_advantages():
    network = QNetwork(SPACE, 5, 1, ModelConfig(), dueling=True)
    obs = torch.randn(7, 2, 3)
    features = network.body(obs)
    advantages, value = network.advantages(features), network.value(features)
    expected = value + advantages - advantages.mean(1, keepdim=True)
    torch.testing.assert_close(network(obs), expected)
    torch.testing.assert_close(network(obs).mean(1, keepdim=True), value)
