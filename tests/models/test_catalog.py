from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.spaces import Dict as DictSpace

from actorrl.config import apply
from actorrl.errors import ConfigError
from actorrl.models.catalog import ModelConfig, body_for
from actorrl.models.networks import MLP, ConvNet, ImpalaResNet

torch.set_num_threads(1)


def images(*shape):
    return Box(0, 255, shape, np.uint8)


@pytest.mark.parametrize(
    ("space", "frame_stack", "settings", "kind", "channels"),
    [
        (Box(-1, 1, (4,)), 1, {}, MLP, None),
        (Box(-1, 1, (3, 5)), 1, {}, MLP, None),
        (Box(-1, 1, (4,)), 3, {}, MLP, None),  # a stack of vectors
        (Box(-1, 1, ()), 1, {}, MLP, None),
        (images(84, 84), 4, {}, ConvNet, 4),
        (images(84, 84), 1, {}, ConvNet, 1),
        (images(84, 84, 3), 1, {}, ConvNet, 3),
        (images(3, 84, 84), 1, {}, ConvNet, 3),
        (images(10, 10, 6), 1, {}, ConvNet, 6),
        (images(84, 84), 4, {"conv_filters": "impala"}, ImpalaResNet, 4),
        (images(20, 20), 2, {"conv_filters": [[8, 4, 2], [8, [3, 3], 1]]}, ConvNet, 2),
    ],
)
def test_each_kind_of_observation_gets_its_body(space, frame_stack, settings, kind, channels):
    config = ModelConfig()
    assert apply(config, settings) == []
    body = body_for(space, frame_stack, config)
    assert isinstance(body, kind)
    if channels is not None:
        assert body.image.channels == channels
    lead = (frame_stack,) if frame_stack > 1 else ()
    obs = np.stack([np.broadcast_to(space.sample(), lead + space.shape) for _ in range(3)])
    assert body(torch.from_numpy(obs)).shape == (3, body.output_size)


@pytest.mark.parametrize(
    "space", [Discrete(5), MultiDiscrete([2, 3]), DictSpace({"a": Discrete(2)}), images(2, 3, 4, 5)]
)
def test_a_space_that_is_no_array_is_refused_by_name(space):
    with pytest.raises(ConfigError) as error:
        body_for(space, 1, ModelConfig())
    assert str(space) in str(error.value)


def test_filters_that_do_not_fit_are_a_config_error():
    with pytest.raises(ConfigError, match=r"model\.conv_filters: .*20x20") as error:
        body_for(images(20, 20), 4, ModelConfig(conv_filters="nature"))
    suggested = json.loads(str(error.value).rpartition("for instance ")[2])
    config = ModelConfig()
    assert apply(config, {"conv_filters": suggested}) == []
    assert isinstance(body_for(images(20, 20), 4, config), ConvNet)


@pytest.mark.parametrize("side", [*range(1, 70), 84, 96, 128, 210])
def test_filters_are_found_for_every_size(side):
    body = body_for(images(side, side + 3, 3), 1, ModelConfig())
    assert body(torch.zeros(2, side, side + 3, 3, dtype=torch.uint8)).shape == (
        2,
        body.output_size,
    )
    cells = body.head.input_size // 32 if 16 <= side < 60 else 16
    assert cells >= 9, "more than a cell or two are left"


def test_keys_of_rllib_are_accepted_where_they_say_what_is_so():
    config = ModelConfig()
    rllibs = {
        "fcnet_hiddens": [256, 256],
        "fcnet_activation": "swish",
        "conv_activation": "elu",
        "post_fcnet_activation": "relu",
        "vf_share_layers": False,
        "free_log_std": False,
        "max_seq_len": 20,
        "lstm_use_prev_action": False,
        "use_attention": False,
        "dim": 84,
        "framestack": True,
        "_disable_preprocessor_api": False,
        "custom_model": None,
        "custom_model_config": {},
    }
    assert apply(config, rllibs, "model.") == []
    assert (config.max_seq_len, config.post_activation) == (20, "relu")
    (line,) = apply(config, {"use_attention": True}, "model.")
    assert line == "model.use_attention: True is not supported, expected False"


def test_the_activation_of_convolutions_can_be_chosen():
    obs = torch.randint(0, 256, (2, 20, 20, 3), dtype=torch.uint8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        relu = body_for(images(20, 20, 3), 1, ModelConfig())
        torch.manual_seed(0)
        elu = body_for(images(20, 20, 3), 1, ModelConfig(conv_activation="elu"))
    assert (relu(obs) >= 0).all() and (elu(obs) < 0).any()


@pytest.mark.parametrize(
    "settings",
    [{"fcnet_activation": "tahn"}, {"conv_filters": "natur"}, {"fcnet_hiddens": [64, 0]}],
)
def test_a_wrong_setting_is_answered_by_one_line(settings):
    (line,) = apply(ModelConfig(), settings)
    assert line.startswith(next(iter(settings)))


def test_an_lstm_needs_a_shared_body():
    assert ModelConfig(use_lstm=True, vf_share_layers=False).validate()
    assert ModelConfig(use_lstm=True).validate() == []


def test_filters_of_no_size_are_answered_by_a_line():
    (line,) = ModelConfig(conv_filters=[(8, 4, 2), (8, (3, 0), 1)]).validate()
    assert line.startswith("conv_filters: (8, (3, 0), 1)")
