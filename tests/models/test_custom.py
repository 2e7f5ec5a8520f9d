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
from actorrl.models.q_network import Support
from actorrl.models.torch_model import TorchModelV2
from actorrl.models.torch_networks import FullyConnectedNetwork
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.deterministic import DeterministicPolicy
from actorrl.policies.evolution import EvolutionPolicy
from actorrl.policies.q_policy import QPolicy
from actorrl.policies.sac import SACPolicy
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
        make(Plain, use_lstm=True, lstm_cell_size=8),
    ],
    ids=["plain", "continuous", "frame stack", "recurrent", "before an LSTM"],
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


class Masked(Structured):
    """Sees the mask; the values of what it forbids are the network's matter."""

    def forward(self, input_dict, state, seq_lens):
        assert set(input_dict["obs"]) == {"observations", "action_mask"}
        return Plain.forward(self, input_dict, state, seq_lens)


MINE = ModelConfig(custom_model=Plain, custom_model_config={"hidden": 5}, fcnet_hiddens=[7])
CONTINUOUS = Box(-1.0, 1.0, (2,))


@pytest.mark.parametrize(
    "settings",
    [{}, {"dueling": False}, {"support": Support(-1.0, 1.0, 5)}, {"noisy_sigma": 0.5}],
    ids=["dueling", "plain", "distributional", "noisy"],
)
def test_the_heads_of_action_values_are_ours_over_the_features_of_the_users_model(settings):
    policy = QPolicy(VECTOR, Discrete(3), model_config=MINE, **settings)
    body = policy.model.body.model
    assert (body.num_outputs, body.action_space) == (7, Discrete(3))
    obs = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    q = policy.q_values(torch.from_numpy(obs))
    assert q.shape == (6, 3)
    np.testing.assert_allclose(policy.act(obs, explore=False).actions, q.argmax(1))
    q.square().sum().backward()
    assert body.shared_layers[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("make_policy", "actions"),
    [
        (DeterministicPolicy, CONTINUOUS),
        (SACPolicy, CONTINUOUS),
        (SACPolicy, Discrete(3)),
    ],
)
def test_actors_and_critics_have_a_model_of_the_users_each(make_policy, actions):
    policy = make_policy(VECTOR, actions, model_config=MINE, twin_q=True)
    bodies = [m for m in policy.model.modules() if isinstance(m, Plain)]
    assert len(bodies) == 3 and all(body.action_space == actions for body in bodies)
    obs = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    act, seen = policy.act(obs), torch.from_numpy(obs)
    q = policy.q_values(seen, *[torch.from_numpy(act.actions)] * (actions is CONTINUOUS))
    assert [len(values) for values in q] == [6, 6]
    (sum(values.sum() for values in q) + policy.actor(seen).sum()).backward()
    assert all(body.shared_layers[0].weight.grad.abs().sum() > 0 for body in bodies)


def test_a_users_model_sees_the_mask_and_what_it_forbids_is_not_done():
    space = Dict(observations=Box(-1, 1, (4,)), action_mask=MultiBinary(3))
    preprocessor = preprocessor_for(space)
    config = ModelConfig(custom_model=Masked, fcnet_hiddens=[7])
    policy = QPolicy(preprocessor.space, Discrete(3), model_config=config)
    one = {"observations": np.zeros(4, np.float32), "action_mask": np.array([0, 0, 1], np.int8)}
    assert policy.act(preprocessor.transform([one, one])).actions.tolist() == [2, 2]


def test_an_lstm_stands_behind_a_users_model_where_both_are_asked_for():
    """As RLlib wraps it; left out, the policy would have no memory, and nobody would be told."""
    policy = make(Plain, use_lstm=True, lstm_cell_size=6, fcnet_hiddens=[7])
    body = policy.model.body.model
    assert policy.recurrent and (body.num_outputs, body.action_space) == (7, Discrete(3))
    obs = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    state = policy.initial_state(2)
    assert [part.shape for part in state] == [(2, 6), (2, 6)]
    first = policy.act(obs, state)
    again = policy.act(obs, first.state)
    assert not np.allclose(first.extras[c.VF_PREDS], again.extras[c.VF_PREDS])
    columns = policy.tensors(Stream(policy, 2).collect(3))
    policy.forward_sequence(columns, 3, 2).values.sum().backward()
    assert body.shared_layers[0].weight.grad.abs().sum() > 0
    with pytest.raises(ConfigError, match=r"Recurrent has a state, .* not carried beside"):
        make(Recurrent, use_lstm=True)


def test_a_users_model_before_an_lstm_sees_the_mask_and_what_it_forbids_is_not_done():
    space = Dict(observations=Box(-1, 1, (4,)), action_mask=MultiBinary(3))
    preprocessor = preprocessor_for(space)
    policy = make(Masked, preprocessor.space, use_lstm=True, lstm_cell_size=6)
    one = {"observations": np.zeros(4, np.float32), "action_mask": np.array([0, 0, 1], np.int8)}
    act = policy.act(preprocessor.transform([one, one]), policy.initial_state(2))
    assert act.actions.tolist() == [2, 2]


def test_a_model_with_a_state_is_no_body_for_rows_of_a_replay():
    with pytest.raises(ConfigError, match="Recurrent has a state, which rows of a replay cannot"):
        QPolicy(VECTOR, Discrete(2), model_config=ModelConfig(custom_model=Recurrent))


class Forgetful(Plain):
    """With dropout, which is for learning."""

    def forward(self, input_dict, state, seq_lens):
        outputs, state = super().forward(input_dict, state, seq_lens)
        return self.dropout(outputs), state

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.dropout = nn.Dropout(0.5)


def test_dropout_is_for_learning_and_never_for_acting(tmp_path):
    policy = ActorCriticPolicy(VECTOR, Discrete(5), 1, ModelConfig(custom_model=Forgetful))
    obs = np.ones((64, *VECTOR.shape), np.float32)

    def dropped(inputs):
        return bool((np.asarray(inputs) == 0).any())

    for _ in range(2):
        assert not dropped(policy.act(obs).extras["action_dist_inputs"])
        assert dropped(policy.model(torch.from_numpy(obs))[0].detach())
        with torch.no_grad():
            assert not dropped(policy.model(torch.from_numpy(obs))[0])
        policy.export_model(tmp_path)
    value = QPolicy(VECTOR, Discrete(5), 1, ModelConfig(custom_model=Forgetful))
    np.testing.assert_array_equal(value.compute_q_values(obs), value.compute_q_values(obs))


def test_evolution_strategies_refuse_custom_models():
    with pytest.raises(ConfigError, match="custom_model: not accepted by evolution strategies"):
        EvolutionPolicy(VECTOR, Discrete(2), model_config=MINE)


class Wrapping(TorchModelV2, nn.Module):
    """RLlib's own example: the built-in network inside."""

    def __init__(self, obs_space, action_space, num_outputs, model_config, name):
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        inner = getattr(obs_space, "original_space", {}).get("observations", obs_space)
        self.inner = FullyConnectedNetwork(inner, action_space, num_outputs, model_config, name)

    def forward(self, input_dict, state, seq_lens):
        obs = input_dict["obs"]
        if isinstance(obs, dict):
            logits, _ = self.inner({"obs": obs["observations"]})
            return logits + torch.log(obs["action_mask"]).clamp(min=-1e9), state
        return self.inner(input_dict, state, seq_lens)

    def value_function(self):
        return torch.reshape(self.inner.value_function(), [-1])


def test_the_built_in_network_is_a_part_of_a_users_model(tmp_path):
    policy = make(Wrapping, fcnet_hiddens=[5], fcnet_activation="relu")
    network = policy.model.model.inner._network
    assert network.body.layers[0].out_features == 5 and network.body.activation == "relu"
    assert policy.act(np.ones((2, 4), np.float32)).actions.shape == (2,)
    screens = np.zeros((2, 42, 42, 3), np.uint8)
    image = make(Wrapping, Box(0, 255, (42, 42, 3), np.uint8))
    assert image.act(screens).extras[c.VF_PREDS].shape == (2,)
    preprocessor = preprocessor_for(Dict(observations=Box(-1, 1, (4,)), action_mask=MultiBinary(3)))
    one = {"observations": np.zeros(4, np.float32), "action_mask": np.array([0, 1, 0], np.int8)}
    masked = make(Wrapping, preprocessor.space)
    assert masked.act(preprocessor.transform([one] * 9)).actions.tolist() == [1] * 9
