from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from actorrl.envs.own_preprocessor import Preprocessor
from actorrl.errors import ConfigError
from actorrl.models.action_distribution import Deterministic, SquashedGaussian
from actorrl.policies.model_catalog import ModelCatalog


@pytest.mark.parametrize("options", [{}, {"fcnet_hiddens": [8]}, {"use_lstm": True}])
def test_the_example_of_the_first_documentation(options):
    """dist_class, dist_dim = get_action_dist; model = get_model; dist = dist_class(outputs)."""
    inputs = torch.randn(6, 4)
    dist_class, dist_dim = ModelCatalog.get_action_dist(Box(-1, 1, (2,)))
    assert dist_dim == 4
    model = ModelCatalog.get_model(inputs, dist_dim, options)
    dist = dist_class(model.outputs)
    action = dist.sample()
    assert action.shape == (6, 2) and dist.logp(action).shape == (6,)
    assert len(model.last_layer) == 6 and model.inputs is inputs


def test_the_kind_of_distribution_can_be_named():
    bind, size = ModelCatalog.get_action_dist(Box(-1, 1, (2,)), dist_type="squashed_gaussian")
    assert size == 4 and isinstance(bind(torch.zeros(1, 4)), SquashedGaussian)
    bind, size = ModelCatalog.get_action_dist(Box(-1, 1, (2,)), dist_type="deterministic")
    assert size == 2 and isinstance(bind(torch.zeros(1, 2)), Deterministic)
    with pytest.raises(ConfigError, match="'nothing' is not registered"):
        ModelCatalog.get_action_dist(Discrete(2), dist_type="nothing")
    with pytest.raises(ConfigError, match="fcnet_hidden: unknown setting"):
        ModelCatalog.get_action_dist(Discrete(2), {"fcnet_hidden": [1]})


class Halved(Preprocessor):
    """A user's own."""

    def _init_shape(self, obs_space, options):
        return (options["custom_model_config"]["size"],)

    def transform(self, observation):
        return np.asarray(observation)[: self.shape[0]] / 2


def test_a_preprocessor_of_the_users_own_is_made_of_the_options():
    ModelCatalog.register_custom_preprocessor("halved", Halved)
    options = {"custom_preprocessor": "halved", "custom_model_config": {"size": 1}}
    found = ModelCatalog.get_preprocessor_for_space(Box(-1, 1, (2,)), options)
    assert isinstance(found, Halved) and found.transform([0.5, 1.0]).tolist() == [0.25]
    with pytest.raises(ConfigError, match="'halvd' is not registered, did you mean 'halved'"):
        ModelCatalog.get_preprocessor_for_space(Box(-1, 1, (2,)), {"custom_preprocessor": "halvd"})


def test_preprocessors_are_found():
    preprocessor = ModelCatalog.get_preprocessor_for_space(Discrete(3))
    assert preprocessor.transform(np.array([2])).tolist() == [[0, 0, 1]]
