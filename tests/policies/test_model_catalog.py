from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

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


def test_preprocessors_are_found():
    preprocessor = ModelCatalog.get_preprocessor_for_space(Discrete(3))
    assert preprocessor.transform(np.array([2])).tolist() == [[0, 0, 1]]
