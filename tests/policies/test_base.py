from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, Text

from actorrl.errors import ConfigError
from actorrl.models.catalog import ModelConfig
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.base import as_tensor

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


def test_random_state_is_json():
    assert "bit_generator" in json.loads(ActorCriticPolicy(VECTOR, Discrete(3)).random_state())


def test_tensors_share_memory_unless_it_is_read_only():
    array = np.zeros(3, np.float32)
    as_tensor(array)[0] = 1
    assert array[0] == 1
    array.flags.writeable = False
    as_tensor(array)[0] = 2
    assert array[0] == 1
