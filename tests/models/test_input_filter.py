from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from actorrl.data import columns as c
from actorrl.models.model_config import ModelConfig
from actorrl.policies.actor_critic import ActorCriticPolicy
from tests.policies.custom_models import Plain
from tests.policies.fragments import Stream

torch.set_num_threads(1)
VECTOR = Box(-np.inf, np.inf, (4,))
MODELS = {
    "numpy": {},
    "torch": {"fcnet_activation": "silu"},
    "lstm": {"use_lstm": True, "lstm_cell_size": 16},
    "custom": {"custom_model": Plain},
}


def make(model):
    config = ModelConfig(**MODELS[model])
    return ActorCriticPolicy(VECTOR, Discrete(3), 1, config, 1, "MeanStdFilter")


class Shifted(Stream):
    """Observations far from 0 and of unlike sizes."""

    def observe(self):
        return (super().observe() * [1, 100, 0.01, 5] + [50, 0, 3, -7]).astype(np.float32)


@pytest.mark.parametrize("model", MODELS)
def test_statistics_travel_with_the_weights_and_ratios_stay_one(model):
    T, B = 12, 4
    learner, worker = make(model), make(model)
    stream, seen = Shifted(worker, B), []
    for version in range(4):
        worker.load_flat(learner.flat_weights(), version)
        arrays = stream.collect(T)
        columns = learner.tensors(arrays)
        inputs, _ = learner.forward_sequence(columns, T, B)
        logp = learner.distribution(inputs).logp(columns[c.ACTIONS])
        ratios = (logp - columns[c.ACTION_LOGP]).exp()[columns[c.VALID]]
        assert (ratios - 1).abs().max() < 1e-5
        learner.note_observations(columns)
        seen.append(arrays[c.OBS][:-1][arrays[c.VALID]])
    rows = np.concatenate(seen).astype(np.float64)
    assert learner.filter.stat.count == len(rows)
    np.testing.assert_allclose(learner.filter.stat.mean, rows.mean(0), rtol=1e-9)
    scaled = learner.model.filter(torch.from_numpy(rows).float()).numpy()
    np.testing.assert_allclose(scaled.std(0, ddof=1), 1, rtol=0.05)


def test_optimizers_leave_the_statistics_alone():
    policy = make("numpy")
    policy.note_observations({c.OBS: torch.randn(50, 4) * 3 + 1})
    before = policy.get_weights()
    optimizer = torch.optim.Adam([policy.flat.vector], lr=0.1)
    for _ in range(3):
        policy.flat.zero_gradient()
        policy.model(torch.randn(8, 4))[0].square().sum().backward()
        optimizer.step()
    after = policy.get_weights()
    for name in ("filter.mean", "filter.scale"):
        np.testing.assert_array_equal(before[name], after[name])
    assert (before["network.policy_head.weight"] != after["network.policy_head.weight"]).any()


def test_a_checkpoint_goes_on_counting():
    one, other = make("numpy"), make("numpy")
    one.note_observations({c.OBS: torch.randn(50, 4)})
    other.load_filter_state(one.filter_state())
    more = torch.randn(20, 4)
    for policy in (one, other):
        policy.note_observations({c.OBS: more})
    np.testing.assert_array_equal(
        one.get_weights()["filter.scale"], other.get_weights()["filter.scale"]
    )
    assert other.filter.stat.count == 70


def test_without_a_filter_nothing_changes():
    policy = ActorCriticPolicy(VECTOR, Discrete(3))
    before = policy.flat_weights()
    policy.note_observations({c.OBS: torch.randn(50, 4)})
    np.testing.assert_array_equal(policy.flat_weights(), before)
    assert policy.filter_state() == {} and "filter.mean" not in policy.get_weights()
