from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Tuple
from torch import nn

from actorrl.data import columns as c
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ConfigError
from actorrl.models.model_config import ModelConfig
from actorrl.models.torch_model import TorchModelV2
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.q_policy import QPolicy
from tests.policies.custom_models import Plain, Recurrent, Structured
from tests.policies.fragments import Stream

torch.set_num_threads(1)
VECTOR, SCREEN = Box(-np.inf, np.inf, (4,)), Box(0, 255, (6, 5), np.uint8)
NESTED = Dict(
    position=Box(-1, 1, (2,)),
    inside=Tuple([Discrete(3), Dict(only=MultiBinary(2))]),
    map=Box(0, 255, (2, 2), np.uint8),
)


def make(cls, space=VECTOR, actions=None, frame_stack=1, **settings):
    config = ModelConfig(custom_model=cls, **settings)
    return ActorCriticPolicy(space, actions or Discrete(3), frame_stack, config)


@pytest.mark.parametrize(
    "policy",
    [
        make(Plain),
        make(Plain, actions=Box(-1, 1, (2,))),
        make(Plain, SCREEN, frame_stack=3),
        make(Recurrent),
    ],
    ids=["plain", "continuous", "frame stack", "recurrent"],
)
def test_every_importance_ratio_is_one(policy):
    T, B = 12, 4
    stream = Stream(policy, B)
    for _ in range(3):
        arrays = collect(stream, policy, T)
        columns = policy.tensors(arrays)
        inputs, values = policy.forward_sequence(columns, T, B)
        logp = policy.distribution(inputs).logp(columns[c.ACTIONS])
        ratios = (logp - columns[c.ACTION_LOGP]).exp()[columns[c.VALID]]
        assert (ratios - 1).abs().max() < 1e-5
        torch.testing.assert_close(values[:-1], columns[c.VF_PREDS], atol=2e-5, rtol=1e-5)


def collect(stream, policy, T):
    """As the collector does: a state that is reset is the initial one, not zeros."""
    if not policy.recurrent:
        return stream.collect(T)
    act, fresh = policy.act, policy.initial_state(stream.B)

    def acting(obs, state, explore):
        first = (stream.age == 0)[:, None]
        state = tuple(np.where(first, f, s) for f, s in zip(fresh, state, strict=True))
        return act(obs, state, explore)

    policy.act = acting
    try:
        return stream.collect(T)
    finally:
        del policy.act


def test_observations_come_in_their_own_structure():
    preprocessor = preprocessor_for(NESTED)
    policy = make(Structured, preprocessor.space)
    raw = [NESTED.sample() for _ in range(5)]
    assert policy.act(preprocessor.transform(raw)).actions.shape == (5,)
    assert policy.model.model.obs_space.original_space is NESTED


def test_settings_reach_the_constructor_and_weights_travel():
    policy = make(Plain, custom_model_config={"hidden": 5}, fcnet_hiddens=[7])
    inner = policy.model.model
    assert inner.shared_layers[0].out_features == 5
    assert inner.model_config["fcnet_hiddens"] == [7]
    assert inner.model_config["custom_model_config"] == {"hidden": 5}
    weights = policy.get_weights()
    assert "model.policy_head.weight" in weights
    other = make(Plain, custom_model_config={"hidden": 5})
    other.set_weights(weights)
    obs = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(*(p.act(obs).extras[c.VF_PREDS] for p in (policy, other)))


class NoModule(TorchModelV2):
    pass


class Wrong(Plain):
    def forward(self, input_dict, state, seq_lens):
        outputs, state = super().forward(input_dict, state, seq_lens)
        return outputs[:, :-1], state


class Raising(Plain):
    def forward(self, input_dict, state, seq_lens):
        raise KeyError("obs_falt")


class Normalised(Plain):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.norm = nn.BatchNorm1d(4)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (NoModule, r"NoModule is no torch model, expected class NoModule\(TorchModelV2, nn.Module"),
        (Wrong, r"Wrong returns outputs of shape \(2, 2\) .* expected \(2, 3\)"),
        (Raising, "Raising fails: KeyError: 'obs_falt'"),
        (Normalised, r"Normalised has batch normalisation \(norm\)"),
        (dict, "dict fails: TypeError"),
    ],
)
def test_a_model_that_cannot_work_is_refused_when_it_is_made(cls, message):
    with pytest.raises(ConfigError, match=f"model.custom_model: {message}"):
        make(cls)


def test_policies_without_a_value_function_refuse_custom_models():
    with pytest.raises(ConfigError, match="custom_model: not accepted by"):
        QPolicy(VECTOR, Discrete(2), model_config=ModelConfig(custom_model=Plain))
