"""Observation filters of the policies that learn from replay: what acts and what learns sees the
same, and rows stay as the environment gave them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary

from actorrl.data import columns as c
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ConfigError
from actorrl.models.model_config import ModelConfig
from actorrl.policies.deterministic import DeterministicPolicy
from actorrl.policies.policy_map import PolicyMap
from actorrl.policies.q_explorers import ParameterNoise
from actorrl.policies.q_policy import QPolicy
from actorrl.policies.sac import SACPolicy

torch.set_num_threads(1)
VECTOR, TORQUE = Box(-np.inf, np.inf, (4,)), Box(-2.0, 2.0, (2,))
NUMPY, TORCH = ModelConfig(fcnet_hiddens=[8]), ModelConfig(fcnet_activation="silu")
POLICIES: dict[str, Any] = {
    "q": lambda **more: QPolicy(VECTOR, Discrete(3), 1, NUMPY, **more),
    "q in torch": lambda **more: QPolicy(VECTOR, Discrete(3), 1, TORCH, **more),
    "deterministic": lambda **more: DeterministicPolicy(VECTOR, TORQUE, 1, NUMPY, **more),
    "squashed": lambda **more: SACPolicy(VECTOR, TORQUE, 1, TORCH, **more),
    "discrete": lambda **more: SACPolicy(VECTOR, Discrete(3), 1, NUMPY, **more),
}


def far(n: int, seed: int = 0) -> np.ndarray:
    """Observations of unlike sizes, far from 0."""
    rows = np.random.default_rng(seed).normal(size=(n, 4)) * [1, 100, 0.01, 5] + [50, 0, 3, -7]
    return rows.astype(np.float32)


def filtered(obs: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """By the definition, in float64."""
    exact = seen.astype(np.float64)
    found = (obs - exact.mean(0)) / (exact.std(0, ddof=1) + 1e-8)
    return found.clip(-10.0, 10.0).astype(np.float32)


def pair(name: str) -> tuple[Any, Any, np.ndarray]:
    """A policy that has got its filter with the weights, one without a filter and with the same
    network, and the rows that the learner has noted."""
    learner, policy = (POLICIES[name](observation_filter="MeanStdFilter", seed=i) for i in (1, 2))
    seen = far(200)
    for part in np.array_split(seen, [50, 51, 120]):
        learner.note_rows({c.OBS: part})
    policy.load_flat(learner.flat_weights(), 1)
    plain, weights = POLICIES[name](), policy.get_weights()
    plain.set_weights({key: x for key, x in weights.items() if not key.startswith("filter.")})
    return policy, plain, seen


@pytest.mark.parametrize("name", POLICIES)
def test_it_acts_on_raw_observations_as_the_bare_network_on_filtered_ones(name: str) -> None:
    policy, plain, seen = pair(name)
    obs = far(20, seed=1)
    raw, reference = policy.act(obs, (), False), plain.act(filtered(obs, seen), (), False)
    np.testing.assert_allclose(raw.actions, reference.actions, atol=1e-4)
    for column, values in raw.extras.items():
        np.testing.assert_allclose(values, reference.extras[column], atol=1e-4)
    actions, outputs, _ = policy.greedy(torch.from_numpy(obs))
    expected = plain.greedy(torch.from_numpy(filtered(obs, seen)))
    np.testing.assert_allclose(outputs.detach(), expected[1].detach(), atol=1e-4)
    np.testing.assert_allclose(actions.detach(), raw.actions, atol=1e-4)


def test_rows_are_filtered_for_learning_and_stay_as_they_are() -> None:
    policy, _, seen = pair("q")
    rows = {c.OBS: torch.from_numpy(far(6, 2)), c.NEXT_OBS: torch.from_numpy(far(6, 3))}
    kept = {name: x.clone() for name, x in rows.items()}
    found = policy.filtered_rows({**rows, c.REWARDS: torch.ones(6)})
    for seed, name in ((2, c.OBS), (3, c.NEXT_OBS)):
        np.testing.assert_allclose(found[name], filtered(far(6, seed), seen), atol=1e-4)
        assert torch.equal(rows[name], kept[name])
    assert (found[c.REWARDS] == 1).all()


def test_without_a_filter_nothing_is_noted() -> None:
    policy = POLICIES["q"]()
    before = policy.flat_weights()
    policy.note_rows({c.OBS: far(10)})
    np.testing.assert_array_equal(policy.flat_weights(), before)
    assert policy.filter_state() == {}


def test_an_action_mask_is_not_filtered() -> None:
    space = preprocessor_for(Dict(observations=VECTOR, action_mask=MultiBinary(3))).space
    policy = QPolicy(space, Discrete(3), observation_filter="MeanStdFilter", epsilons=np.ones(1))
    masks = np.tile(np.array([[0, 1, 0]], np.float32), (100, 1))
    obs = np.hstack([masks, far(100)])
    policy.note_rows({c.OBS: obs})
    assert (policy.act(obs).actions == 1).all()
    assert (policy.act(obs, (), False).actions == 1).all()


def test_noise_on_the_weights_leaves_the_filter_as_it_is() -> None:
    """Noise that is next to nothing changes no action, whatever the observations' sizes."""
    noise = ParameterNoise(stddev=1e-9)
    policy = QPolicy(VECTOR, Discrete(3), observation_filter="MeanStdFilter", explorer=noise)
    policy.note_rows({c.OBS: far(100)})
    policy.episodes_begin(np.arange(1))
    obs = far(50, seed=1)
    np.testing.assert_array_equal(policy.act(obs).actions, policy.act(obs, (), False).actions)


def test_each_of_several_policies_notes_its_own_rows() -> None:
    policies = {name: POLICIES["q"](observation_filter="MeanStdFilter") for name in "ab"}
    both = PolicyMap(policies)
    both.note_rows({f"a/{c.OBS}": far(7), f"b/{c.OBS}": far(5), f"b/{c.REWARDS}": np.ones(5)})
    both.note_rows({f"b/{c.OBS}": far(4)})
    counts = {name: state["count"] for name, state in both.filter_state().items()}
    assert counts == {"a": 7, "b": 9}


def test_images_are_refused() -> None:
    screen = Box(0, 255, (36, 40), np.uint8)
    with pytest.raises(ConfigError, match=r"MeanStdFilter with .* Box\(0, 255.*expected NoFilter"):
        QPolicy(screen, Discrete(3), 4, observation_filter="MeanStdFilter")
