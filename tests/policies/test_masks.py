from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from actorrl.data import columns as c
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ConfigError
from actorrl.models.model_config import ModelConfig
from actorrl.models.q_network import Support
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.q_policy import QPolicy
from actorrl.policies.sac import SACPolicy
from tests.policies.fragments import Stream

torch.set_num_threads(1)
SPACES = {
    "vector": Dict(action_mask=MultiBinary(4), observations=Box(-1, 1, (3,))),
    "nested": Dict(
        action_mask=Box(0, 1, (4,), np.int8),
        observations=Tuple([Discrete(3), Dict(x=Box(-1, 1, (2,)), y=MultiBinary(2))]),
    ),
    "image": Dict(action_mask=MultiBinary(4), observations=Box(0, 255, (40, 36, 3), np.uint8)),
    "image and vector": Dict(
        action_mask=MultiBinary(4), a=Box(0, 255, (36, 40), np.uint8), b=Box(-1, 1, (3,))
    ),
}
MODELS = {"plain": {}, "lstm": {"use_lstm": True, "lstm_cell_size": 16}}


class MaskedStream(Stream):
    """Random observations with random masks; a row after an end may forbid everything."""

    def __init__(self, policy, preprocessor, raw_space, B):
        self.preprocessor, self.raw_space = preprocessor, raw_space
        raw_space.seed(0)
        super().__init__(policy, B)

    def observe(self):
        rows = [self.raw_space.sample() for _ in range(self.B)]
        return self.preprocessor.transform(rows)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("actions", [Discrete(4), MultiDiscrete([2, 2])], ids=["one", "many"])
def test_forbidden_actions_are_never_taken_and_ratios_are_one(name, model, actions):
    T, B = 10, 4
    preprocessor = preprocessor_for(SPACES[name])
    config = ModelConfig(**MODELS[model])
    policy = ActorCriticPolicy(preprocessor.space, actions, model_config=config)
    stream = MaskedStream(policy, preprocessor, SPACES[name], B)
    for _ in range(2):
        arrays = stream.collect(T)
        columns = policy.tensors(arrays)
        inputs, _ = policy.forward_sequence(columns, T, B)
        bound = policy.distribution(inputs)
        logp = bound.logp(columns[c.ACTIONS]).detach()
        assert ((logp - columns[c.ACTION_LOGP]).exp() - 1).abs().max() < 1e-5
        assert torch.isfinite(bound.entropy()).all()
        mask = arrays[c.OBS][:-1, ..., :4] > 0
        chosen = arrays[c.ACTIONS] if isinstance(actions, Discrete) else None
        if chosen is not None:
            allowed = np.take_along_axis(mask, chosen[..., None], -1)[..., 0]
            assert allowed[mask.any(-1)].all()
        else:
            for i in range(2):
                part = mask[..., 2 * i : 2 * i + 2]
                allowed = np.take_along_axis(part, arrays[c.ACTIONS][..., i, None], -1)[..., 0]
                assert allowed[part.any(-1)].all()


def test_the_body_does_not_see_the_mask():
    preprocessor = preprocessor_for(SPACES["vector"])
    policy = ActorCriticPolicy(preprocessor.space, Discrete(4))
    obs = np.array([[1, 1, 1, 1, 0.1, 0.2, 0.3], [0, 1, 1, 0, 0.1, 0.2, 0.3]], np.float32)
    extras = policy.act(obs).extras
    assert extras[c.VF_PREDS][0] == extras[c.VF_PREDS][1]
    logits = extras[c.ACTION_DIST_INPUTS]
    np.testing.assert_array_equal(logits[0, 1:3], logits[1, 1:3])
    assert (logits[1, [0, 3]] == -1e9).all()


def test_action_values_obey_masks_also_at_random():
    preprocessor = preprocessor_for(SPACES["vector"])
    obs = np.tile(np.array([[0, 1, 0, 1, 0.1, 0.2, 0.3]], np.float32), (200, 1))
    for activation in ("tanh", "silu"):  # in NumPy and in torch
        config = ModelConfig(fcnet_activation=activation)
        policy = QPolicy(preprocessor.space, Discrete(4), 1, config, epsilons=np.ones(1))
        act = policy.act(obs)
        np.testing.assert_allclose(np.bincount(act.actions), [0, 100, 0, 100], atol=35)
        assert set(policy.act(obs, explore=False).actions) <= {1, 3}
        q = policy.q_values(torch.from_numpy(obs)).detach()
        np.testing.assert_allclose(act.extras[c.Q_VALUES], q, atol=1e-6)
    with pytest.raises(ConfigError, match="action_mask together with"):
        QPolicy(preprocessor.space, Discrete(4), support=Support(-1, 1, 5))


def test_discrete_sac_obeys_masks():
    preprocessor = preprocessor_for(SPACES["vector"])
    policy = SACPolicy(preprocessor.space, Discrete(4), random_steps=100)
    obs = np.tile(np.array([[0, 1, 0, 1, 0.1, 0.2, 0.3]], np.float32), (100, 1))
    for timesteps in (0, 100):  # at random, then by the actor
        policy.timesteps = timesteps
        assert set(policy.act(obs).actions) == {1, 3}
    probabilities = torch.softmax(policy.actor(torch.from_numpy(obs)), dim=1)
    assert (probabilities[:, [0, 2]] == 0).all()


@pytest.mark.parametrize("activation", ["tanh", "silu"])  # in NumPy and in torch
def test_a_mask_that_allows_nothing_leaves_values_to_bootstrap_from(activation):
    space, config = (
        preprocessor_for(SPACES["vector"]).space,
        ModelConfig(fcnet_activation=activation),
    )
    nothing, all_ = (np.array([[m] * 4 + [0.1, 0.2, 0.3]], np.float32) for m in (0, 1))
    actor_critic = ActorCriticPolicy(space, Discrete(4), model_config=config)
    q, sac = QPolicy(space, Discrete(4), 1, config), SACPolicy(space, Discrete(4), 1, config)
    for values in (
        lambda obs: actor_critic.act(obs).extras[c.ACTION_DIST_INPUTS],
        lambda obs: q.act(obs).extras[c.Q_VALUES],
        lambda obs: q.q_values(torch.from_numpy(obs)).detach().numpy(),
        lambda obs: sac.q_values(torch.from_numpy(obs))[0].detach().numpy(),
    ):
        np.testing.assert_array_equal(values(nothing), values(all_))
        assert np.abs(values(nothing)).max() < 10


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (Discrete(3), r"4 elements, but the action space Discrete\(3\) needs 3"),
        (MultiDiscrete([2, 3]), "needs 5, one for each choice"),
        (Box(-1, 1, (4,)), r"action space is Box\(.*expected Discrete or MultiDiscrete"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(actions, message):
    space = preprocessor_for(SPACES["vector"]).space
    with pytest.raises(ConfigError, match=message):
        ActorCriticPolicy(space, actions)
