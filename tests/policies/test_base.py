from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, Text
from gymnasium.utils.seeding import np_random

from actorrl.errors import ConfigError
from actorrl.models.catalog import ModelConfig
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.base import Act, Policy
from actorrl.policies.learnable import as_tensor

torch.set_num_threads(1)
VECTOR = Box(-np.inf, np.inf, (4,))


def test_weights_go_out_and_in_by_name_and_as_one_vector():
    one, other = (ActorCriticPolicy(VECTOR, Discrete(3), seed=s) for s in (1, 2))
    obs = np.random.default_rng(0).normal(size=(5, 4))
    other.set_weights(one.get_weights())
    np.testing.assert_array_equal(one.flat_weights(), other.flat_weights())
    np.testing.assert_array_equal(*(p.act(obs).extras["vf_preds"] for p in (one, other)))
    assert other.version == 0
    sizes = [int(np.prod(shape)) for _, shape in one.layout()]
    assert sum(sizes) == len(one.flat_weights())
    assert [name for name, _ in one.layout()] == list(one.get_weights())


def test_a_policy_draws_other_numbers_than_an_environment_of_its_seed():
    policy = ActorCriticPolicy(VECTOR, Discrete(3), seed=7)
    same_seed, _ = np_random(7)
    assert not np.isin(policy.random.random(100), same_seed.random(200)).any()


def test_actions_of_a_space_that_does_not_start_at_zero():
    policy = ActorCriticPolicy(VECTOR, Discrete(3, start=-1))
    actions, _, _ = policy.compute_actions(np.random.default_rng(0).normal(size=(100, 4)))
    assert set(actions) == {-1, 0, 1}
    assert set(policy.act(np.ones((100, 4))).actions) == {0, 1, 2}


def test_other_action_spaces_are_refused_by_name():
    with pytest.raises(ConfigError) as error:
        ActorCriticPolicy(VECTOR, Text(5))
    assert str(Text(5)) in str(error.value)


def test_single_actions_with_and_without_state():
    plain = ActorCriticPolicy(VECTOR, Discrete(3))
    action, state, extras = plain.compute_single_action([0.1, 0.2, 0.3, 0.4], explore=False)
    assert action in (0, 1, 2) and state == [] and extras["vf_preds"].shape == ()
    recurrent = ActorCriticPolicy(
        VECTOR, Discrete(3), model_config=ModelConfig(use_lstm=True, lstm_cell_size=8)
    )
    _, first, _ = recurrent.compute_single_action(np.ones(4))
    _, second, _ = recurrent.compute_single_action(np.ones(4), first)
    assert [part.shape for part in first] == [(8,), (8,)]
    assert not np.allclose(first[0], second[0])


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([0.1, 0.2, 0.3, 0.4], r"of shape \[4\] are not accepted, expected \[B, 4\]"),
        (np.ones((2, 3)), r"of shape \[2, 3\] are not accepted, expected \[B, 4\]"),
        ((np.ones(4), {}), "no batch"),
        ([{"a": 1.0}], "no batch of numbers"),
        (["abcd"], "no batch of numbers"),
        (None, "no batch of numbers"),
        (1.0, "no batch of numbers"),
    ],
)
def test_what_is_no_batch_of_observations_is_told_of(given, why):
    with pytest.raises(ConfigError, match=f"^observations: .*{why}"):
        ActorCriticPolicy(VECTOR, Discrete(3)).compute_actions(given)


def test_frames_are_to_come_as_stacks():
    policy = ActorCriticPolicy(Box(0, 255, (42, 42), np.uint8), Discrete(3), frame_stack=4)
    with pytest.raises(ConfigError, match=r"expected \[B, 4, 42, 42\]"):
        policy.compute_single_action(np.zeros((42, 42, 4), np.uint8))
    policy.compute_single_action(np.zeros((4, 42, 42), np.uint8))


def test_random_state_is_json():
    assert "bit_generator" in json.loads(ActorCriticPolicy(VECTOR, Discrete(3)).random_state())


def test_tensors_share_memory_unless_it_is_read_only():
    array = np.zeros(3, np.float32)
    as_tensor(array)[0] = 1
    assert array[0] == 1
    array.flags.writeable = False
    as_tensor(array)[0] = 2
    assert array[0] == 1


class Cautious(Policy):
    """A heuristic without any framework, by `act`."""

    def act(self, obs, state=(), explore=True):
        return Act(np.zeros((len(obs), 2), np.float32), {}, state)


class Mirroring(Policy):
    """The same in RLlib's form: environment actions by `compute_actions`."""

    def compute_actions(self, obs_batch, state_batches=None, **kwargs):
        return np.full((len(obs_batch), 2), 4.0), [], {}


@pytest.mark.parametrize(("cls", "stored", "sent"), [(Cautious, 0.0, 2.0), (Mirroring, 1.0, 4.0)])
def test_a_heuristic_needs_only_one_method(cls, stored, sent):
    policy = cls(VECTOR, Box(0, 4, (2,)), {"any": "setting"})
    act = policy.act(np.zeros((3, 4)))
    np.testing.assert_array_equal(act.actions, np.full((3, 2), stored))
    np.testing.assert_array_equal(policy.env_actions(act.actions), np.full((3, 2), sent))
    actions, _, _ = policy.compute_actions(np.zeros((3, 4)))
    np.testing.assert_array_equal(actions, np.full((3, 2), sent))
    assert policy.get_weights() == {} and policy.config == {"any": "setting"}
    policy.set_weights({})
    with pytest.raises(NotImplementedError, match=f"{cls.__name__} has no value function"):
        policy.value_function(np.zeros((3, 4)))


def test_a_policy_that_says_nothing_cannot_act():
    with pytest.raises(NotImplementedError, match="defines no act"):
        Policy(VECTOR, Discrete(2)).act(np.zeros((1, 4)))


@pytest.mark.parametrize("model", [{}, {"use_lstm": True, "lstm_cell_size": 8}])
@pytest.mark.parametrize("space", [Discrete(3, start=1), Box(-2, 2, (2,))])
def test_actions_from_an_input_dict_and_their_likelihoods(model, space):
    policy = ActorCriticPolicy(VECTOR, space, model_config=ModelConfig(**model))
    obs = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    states = [np.tile(part, (6, 1)) + 0.1 for part in policy.get_initial_state()]
    given = {"obs": obs, **{f"state_in_{i}": part for i, part in enumerate(states)}}
    actions, after, extras = policy.compute_actions_from_input_dict(given, explore=False)
    same, same_after, _ = policy.compute_actions(obs, states, None, None, None, None, False)
    np.testing.assert_array_equal(actions, same)
    for one, other in zip(after, same_after, strict=True):
        np.testing.assert_array_equal(one, other)
    logp = policy.compute_log_likelihoods(actions, obs, states, actions_normalized=False)
    np.testing.assert_allclose(logp, extras["action_logp"], atol=1e-5)
    stored = policy.action_layout.from_env(actions)
    np.testing.assert_allclose(policy.compute_log_likelihoods(stored, obs, states), logp)
    np.testing.assert_allclose(policy.value_function(obs, states), extras["vf_preds"], atol=1e-6)
    assert all(space.contains(action) for action in actions)
