"""With no lag every importance ratio is 1 to 1e-5, in every action space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from actorrl.data import columns as c
from actorrl.models.model_config import ModelConfig
from actorrl.policies.actor_critic import ActorCriticPolicy
from tests.policies.fragments import Stream

torch.set_num_threads(1)
VECTOR = Box(-np.inf, np.inf, (4,))
SPACES = {
    "box": Box(-2, 2, (3,)),
    "unbounded box of two axes": Box(-np.inf, np.inf, (2, 2)),
    "multi-discrete": MultiDiscrete([3, 2, 4]),
    "multi-binary": MultiBinary(3),
    "dict": Dict(a=Discrete(3, start=2), b=Box(-2, 2, (2,)), c=MultiBinary(2)),
    "tuple": Tuple([MultiDiscrete([3, 3]), Tuple([Discrete(2), Box(0, 1, (1, 2))])]),
}
MODELS = {
    "numpy": {},
    "torch": {"fcnet_activation": "silu"},
    "lstm": {"use_lstm": True, "lstm_cell_size": 16},
}
CASES = {
    **{f"{s}, {m}": (SPACES[s], MODELS[m]) for s in SPACES for m in MODELS},
    "free log-std": (SPACES["box"], {"free_log_std": True}),
    "free log-std, lstm": (SPACES["box"], {"free_log_std": True, **MODELS["lstm"]}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_learner_finds_the_log_probabilities_that_were_stored(case):
    T, B = 12, 4
    space, settings = CASES[case]
    policy = ActorCriticPolicy(VECTOR, space, model_config=ModelConfig(**settings), seed=3)
    weights = policy.get_weights()
    weights["policy_head.weight"] *= 100  # as after training
    if "log_std" in weights:
        weights["log_std"] -= np.array([0.0, 0.5, 1.0], np.float32)
    policy.set_weights(weights)
    stream = Stream(policy, B)
    for _ in range(2):
        arrays = stream.collect(T)
        columns = policy.tensors(arrays)
        inputs, values = policy.forward_sequence(columns, T, B)
        logp = policy.distribution(inputs).logp(columns[c.ACTIONS])
        ratios = (logp - columns[c.ACTION_LOGP]).exp()[columns[c.VALID]]
        assert (ratios - 1).abs().max() < 1e-5
        torch.testing.assert_close(inputs, columns[c.ACTION_DIST_INPUTS], atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(values[:-1], columns[c.VF_PREDS], atol=2e-5, rtol=1e-5)
        for row in arrays[c.ACTIONS]:
            assert all(space.contains(action) for action in policy.env_actions(row))


def test_free_deviations_do_not_depend_on_the_observation_and_have_a_gradient():
    config = ModelConfig(free_log_std=True)
    policy = ActorCriticPolicy(VECTOR, SPACES["box"], model_config=config)
    inputs, _ = policy.model(torch.randn(10, 4))
    assert inputs.shape == (10, 6) and (inputs[:, 3:] == inputs[0, 3:]).all()
    policy.distribution(inputs).entropy().sum().backward()
    assert policy.flat.gradient[policy.flat.span("log_std")].tolist() == [10.0] * 3
