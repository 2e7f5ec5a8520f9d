from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box

from actorrl.models.model_config import ModelConfig
from actorrl.models.noisy import NoisyLinear
from actorrl.models.q_network import QNetwork

torch.set_num_threads(1)


def test_without_a_draw_a_noisy_layer_is_a_linear_one():
    layer = NoisyLinear(4, 3)
    x = torch.randn(10, 4)
    expected = x @ layer.weight.T + layer.bias
    torch.testing.assert_close(layer(x), expected)
    layer.draw(np.random.default_rng(0))
    assert not torch.allclose(layer(x), expected)
    layer.be_quiet()
    torch.testing.assert_close(layer(x), expected)


def test_the_noise_is_factorised_and_of_the_papers_size():
    """One row's output is x (W + sigma f(e_out) f(e_in)^T)^T + b + sigma f(e_out)."""
    layer = NoisyLinear(4, 3, sigma=0.5)
    layer.draw(np.random.default_rng(7))
    random = np.random.default_rng(7)
    e_in = random.standard_normal((1, 4), dtype=np.float32)[0]
    e_out = random.standard_normal((1, 3), dtype=np.float32)[0]
    f_in, f_out = (np.sign(e) * np.sqrt(np.abs(e)) for e in (e_in, e_out))
    sigma = 0.5 / np.sqrt(4)
    weight = layer.weight.detach().numpy() + sigma * np.outer(f_out, f_in)
    bias = layer.bias.detach().numpy() + sigma * f_out
    x = torch.randn(6, 4)
    np.testing.assert_allclose(layer(x).detach(), x.numpy() @ weight.T + bias, atol=1e-5)


def test_each_row_may_have_a_noise_of_its_own():
    layer = NoisyLinear(4, 3)
    x = torch.ones(5, 4)
    layer.draw(np.random.default_rng(0))
    shared = layer(x).detach().numpy()
    assert np.ptp(shared, axis=0).max() < 1e-6
    layer.draw(np.random.default_rng(0), rows=5)
    own = layer(x).detach().numpy()
    assert len(np.unique(own[:, 0])) == 5


def test_weights_and_their_noise_have_gradients():
    layer = NoisyLinear(4, 3)
    layer.draw(np.random.default_rng(0))
    layer(torch.randn(6, 4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_hidden_noisy_layers_have_the_activation_of_layers_after_the_body():
    """With "linear", and quiet, the values are linear in the observation."""
    space, x = Box(-1, 1, (4,), np.float32), torch.randn(1, 4)
    for activation, is_linear in (("linear", True), ("relu", False)):
        config = ModelConfig(
            fcnet_hiddens=[], post_fcnet_hiddens=[8], post_fcnet_activation=activation
        )
        network = QNetwork(space, 3, 1, config, noisy_sigma=0.5)
        q = network(torch.cat([-x, 0 * x, x])).detach()
        assert torch.allclose(q[2] - q[1], q[1] - q[0], atol=1e-5) == is_linear
