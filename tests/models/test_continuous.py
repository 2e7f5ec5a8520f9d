"""Critics of continuous actions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from actorrl.models.continuous import Critic
from actorrl.models.model_config import ModelConfig

torch.set_num_threads(1)
VECTOR, IMAGE = Box(-1, 1, (4,), np.float32), Box(0, 1, (12, 12, 3), np.float32)


@pytest.mark.parametrize(
    ("space", "hiddens"),
    [(VECTOR, [8]), (IMAGE, [8]), (IMAGE, [])],
    ids=["vector", "image", "image and no layer named"],
)
def test_the_layers_after_the_body_have_their_own_activation(space, hiddens):
    """With "linear" there, Q is linear in the action, since nothing before sees it but a body."""
    settings = {"fcnet_hiddens": [], "post_fcnet_hiddens": hiddens}
    obs = torch.from_numpy(np.stack([space.sample()] * 3))
    actions = torch.tensor([[0.0, 0.0], [1.0, -2.0], [2.0, -4.0]])
    for activation, is_linear in (("linear", True), ("tanh", False)):
        config = ModelConfig(post_fcnet_activation=activation, **settings)
        q = Critic(space, 2, 1, config)(obs, actions).detach()
        bend = (q[2] - q[1]) - (q[1] - q[0])
        assert (abs(float(bend)) < 1e-4) == is_linear


def test_observations_and_actions_without_axes_are_columns():
    obs, actions = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, -1.0, 0.5])
    critic = Critic(Box(-1, 1, ()), 1, 1, ModelConfig(fcnet_hiddens=[8]))
    torch.testing.assert_close(critic(obs, actions), critic(obs[:, None], actions[:, None]))
