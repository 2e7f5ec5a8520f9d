"""Exploring by the softmax of values, and by noise on the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

from actorrl.data import columns as c
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.models.flat_parameters import Float32
from actorrl.policies.exploration import EpsilonSchedule
from actorrl.policies.q_explorers import ParameterNoise, SoftQ, distance_of, divergence
from actorrl.policies.q_policy import QPolicy

torch.set_num_threads(1)
VECTOR = Box(-np.inf, np.inf, (4,))


def observations(batch: int, seed: int = 0) -> Float32:
    return np.random.default_rng(seed).normal(size=(batch, 4)).astype(np.float32)


def softmax(q: Float32) -> Float32:
    powers = np.exp(q.astype(np.float64))
    return powers / powers.sum()


def test_actions_come_as_often_as_the_softmax_of_their_values_says() -> None:
    policy = QPolicy(VECTOR, Discrete(3), explorer=SoftQ(temperature=0.5))
    obs = np.repeat(observations(1), 20_000, axis=0)
    act = policy.act(obs)
    expected = 20_000 * softmax(act.extras[c.Q_VALUES][0] / 0.5)
    counts = np.bincount(act.actions, minlength=3)
    assert (((counts - expected) ** 2) / expected).sum() < 13.8  # chi-square, 2 d.o.f., 1 in 1,000
    greedy = policy.act(obs, explore=False)
    assert (greedy.actions == act.extras[c.Q_VALUES][0].argmax()).all()


@pytest.mark.parametrize("explorer", [SoftQ(100.0), ParameterNoise(10.0)])
def test_forbidden_actions_are_never_taken(explorer: SoftQ | ParameterNoise) -> None:
    masked = Dict({"action_mask": Box(0, 1, (3,)), "observations": VECTOR})
    preprocessor = preprocessor_for(masked)
    rows = [{"action_mask": np.array([1, 0, 1], np.float32), "observations": x}
            for x in observations(50)]  # fmt: skip
    obs = preprocessor.transform(rows)
    policy = QPolicy(preprocessor.space, Discrete(3), explorer=explorer)
    taken = np.concatenate([policy.act(obs).actions for _ in range(20)])
    assert set(taken.tolist()) == {0, 2}


def test_distances_between_policies_are_those_of_slow_sums() -> None:
    q, other = (np.random.default_rng(i).normal(size=(5, 3)).astype(np.float32) for i in (1, 2))
    slow = np.mean(
        [
            sum(p * np.log(p / r) for p, r in zip(softmax(a), softmax(b), strict=True))
            for a, b in zip(q, other, strict=True)
        ]
    )
    assert divergence(q, other) == pytest.approx(slow, abs=1e-6)
    assert divergence(q, q) == 0.0
    # KL(greedy || epsilon-greedy): all the mass is on the action that has 1 - epsilon + epsilon / A
    assert distance_of(0.1, 4) == pytest.approx(-np.log(0.925))


def noisy_policy(stddev: float, epsilon: float = 0.1) -> QPolicy:
    schedule = EpsilonSchedule(epsilon, epsilon, 1)
    explorer = ParameterNoise(stddev)
    return QPolicy(VECTOR, Discrete(3), epsilon_schedule=schedule, explorer=explorer, seed=1)


def test_noise_on_weights_lasts_until_the_first_environment_begins_an_episode() -> None:
    policy, obs = noisy_policy(1.0), observations(200)
    policy.episodes_begin(np.array([0, 1]))
    first = policy.act(obs)
    np.testing.assert_array_equal(policy.act(obs).actions, first.actions)
    np.testing.assert_array_equal(
        first.extras[c.Q_VALUES], policy.act(obs, explore=False).extras[c.Q_VALUES]
    )
    assert (first.actions != first.extras[c.Q_VALUES].argmax(1)).any(), "noise moves some"
    policy.episodes_begin(np.array([1]))
    np.testing.assert_array_equal(policy.act(obs).actions, first.actions)
    policy.episodes_begin(np.array([0]))
    assert (policy.act(obs).actions != first.actions).any()


def test_newer_weights_get_the_same_noise() -> None:
    policy, obs = noisy_policy(1e-6), observations(200)
    policy.act(obs)
    newer = noisy_policy(1e-6)
    weights = QPolicy(VECTOR, Discrete(3), seed=5).flat_weights()
    policy.load_flat(weights, version=1)
    newer.load_flat(weights, version=1)
    act = policy.act(obs)
    assert (act.actions == act.extras[c.Q_VALUES].argmax(1)).mean() > 0.99, "not the old weights"
    np.testing.assert_array_equal(act.actions, newer.act(obs).actions)  # drawn from one seed


def test_the_deviation_adapts_to_the_distance_of_epsilon() -> None:
    for stddev in (1e-4, 10.0):
        policy = noisy_policy(stddev)
        found = []
        for i in range(3000):
            policy.episodes_begin(np.array([0]))
            obs = observations(8, i)
            policy.act(obs)
            explorer = policy._explorer
            assert isinstance(explorer, ParameterNoise)
            noisy = explorer._network.q_values(torch.from_numpy(obs)).numpy()
            found.append(divergence(policy.compute_q_values(obs), noisy))
        assert np.median(found[-1000:]) == pytest.approx(distance_of(0.1, 3), rel=0.3)
