from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from actorrl.data import columns as c
from actorrl.errors import ConfigError
from actorrl.losses.q_learning import double_q_td, huber
from actorrl.models.catalog import ModelConfig
from actorrl.models.q_network import Support
from actorrl.policies.exploration import EpsilonSchedule
from actorrl.policies.q_policy import QPolicy

torch.set_num_threads(1)
VECTOR, SCREEN = Box(-np.inf, np.inf, (4,)), Box(0, 255, (36, 40), np.uint8)


def observations(batch):
    return np.random.default_rng(0).normal(size=(batch, 4)).astype(np.float32)


@pytest.mark.parametrize("dueling", [True, False])
def test_acting_and_learning_see_the_same_values(dueling):
    policy = QPolicy(VECTOR, Discrete(3), dueling=dueling)
    obs = observations(20)
    q = policy.act(obs).extras[c.Q_VALUES]
    np.testing.assert_allclose(q, policy.q_values(torch.from_numpy(obs)).detach(), atol=1e-6)
    np.testing.assert_array_equal(policy.act(obs).actions, q.argmax(1))


def test_acting_and_learning_see_the_same_values_of_stacks():
    policy = QPolicy(SCREEN, Discrete(3), frame_stack=4)
    obs = np.random.default_rng(0).integers(0, 256, (5, 4, 36, 40), dtype=np.uint8)
    q = policy.act(obs).extras[c.Q_VALUES]
    np.testing.assert_allclose(q, policy.q_values(torch.from_numpy(obs)).detach(), atol=1e-5)


def test_bf16_runs_the_bodies_of_policy_and_target_and_stays_near():
    exact, rough = (QPolicy(SCREEN, Discrete(3), 4, precision=x) for x in ("fp32", "bf16"))
    obs = np.random.default_rng(0).integers(0, 256, (5, 4, 36, 40), dtype=np.uint8)
    for weights in (exact.flat_weights(), exact.flat_weights() * np.float32(1.1)):
        exact.load_flat(weights, 1)
        rough.load_flat(weights, 1)
        difference = np.abs(exact.compute_q_values(obs) - rough.compute_q_values(obs))
        assert 0 < difference.max() < 0.05
        learned = rough.q_values(torch.from_numpy(obs)).detach()
        assert learned.dtype == torch.float32
        np.testing.assert_allclose(rough.compute_q_values(obs), learned, atol=1e-6)
    np.testing.assert_allclose(
        rough.make_target().q_values(torch.from_numpy(obs)), learned, atol=1e-6
    )
    with pytest.raises(ConfigError, match="expected fp32 or bf16"):
        QPolicy(SCREEN, Discrete(3), precision="fp8")


def test_each_environment_explores_with_its_own_epsilon():
    """A random action is the greedy one in a third of the draws: 2/3 epsilon differ."""
    epsilons = np.array([0.0, 0.1, 0.5, 1.0])
    policy = QPolicy(VECTOR, Discrete(3), epsilons=epsilons)
    obs, rounds = observations(4), 6000
    greedy = policy.act(obs, explore=False).actions
    different = sum(policy.act(obs).actions != greedy for _ in range(rounds))
    expected = rounds * epsilons * 2 / 3
    assert (np.abs(different - expected) <= 4 * np.sqrt(expected + 1e-9)).all()


def test_random_actions_are_even():
    policy = QPolicy(VECTOR, Discrete(4), epsilons=np.ones(1))
    counts = np.bincount(policy.act(observations(40_000)).actions, minlength=4)
    assert (((counts - 10_000) ** 2) / 10_000).sum() < 16.3  # chi-square, 3 d.o.f., one in 1,000


def test_values_are_those_before_epsilon_and_exploration_can_be_off():
    policy = QPolicy(VECTOR, Discrete(3), epsilons=np.ones(10))
    explored, greedy = policy.act(observations(10)), policy.act(observations(10), explore=False)
    np.testing.assert_array_equal(explored.extras[c.Q_VALUES], greedy.extras[c.Q_VALUES])
    np.testing.assert_array_equal(greedy.actions, greedy.extras[c.Q_VALUES].argmax(1))


def test_a_wrong_number_of_epsilons_and_wrong_epsilons_are_refused():
    policy = QPolicy(VECTOR, Discrete(3), epsilons=np.ones(3))
    with pytest.raises(ValueError, match="3 epsilons for 10"):
        policy.act(observations(10))
    with pytest.raises(ValueError, match="within"):
        policy.set_epsilons(np.array([0.5, 1.5]))


def test_an_lstm_is_refused():
    with pytest.raises(ConfigError, match="use_lstm"):
        QPolicy(VECTOR, Discrete(3), model_config=ModelConfig(use_lstm=True))


def test_the_target_network_changes_only_when_told_to():
    policy = QPolicy(VECTOR, Discrete(3))
    target = policy.make_target()
    obs = torch.from_numpy(observations(5))
    before = policy.q_values(obs).detach()
    assert torch.equal(target.q_values(obs), before)
    policy.load_flat(policy.flat_weights() + 0.1, version=1)
    assert torch.equal(target.q_values(obs), before)
    target.sync()
    assert torch.equal(target.q_values(obs), policy.q_values(obs).detach())
    saved = target.flat_weights()
    target.load_flat(saved * 0)
    assert (target.q_values(obs) == 0).all()


def test_values_of_a_chain_are_learned():
    """Three states in a row, reward 1 behind the last, gamma .5: values 1/4, 1/2, 1."""
    policy = QPolicy(Box(0, 1, (3,)), Discrete(2), seed=1)
    target, states = policy.make_target(), torch.eye(3)
    optimizer = torch.optim.Adam([policy.flat.vector], lr=0.01)
    obs = states.repeat_interleave(2, 0)  # each state with each action, which do the same
    next_obs = states[[1, 1, 2, 2, 0, 0]]
    actions = torch.tensor([0, 1] * 3)
    rewards = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    discounts = torch.tensor([0.5] * 4 + [0.0] * 2)
    for step in range(400):
        if step % 20 == 0:
            target.sync()
        with torch.no_grad():
            online = policy.q_values(next_obs)
        td = double_q_td(
            policy.q_values(obs), actions, rewards, discounts, online, target.q_values(next_obs)
        )
        policy.flat.zero_gradient()
        huber(td).mean().backward()
        optimizer.step()
    learned = policy.compute_q_values(np.eye(3, dtype=np.float32))
    np.testing.assert_allclose(learned, [[0.25] * 2, [0.5] * 2, [1.0] * 2], atol=0.02)


def test_a_noisy_policy_explores_with_a_noise_per_environment_and_plays_without():
    policy = QPolicy(VECTOR, Discrete(3), noisy_sigma=0.5, epsilons=np.zeros(1))
    obs = np.tile(observations(1), (6, 1))
    q = policy.act(obs).extras[c.Q_VALUES]
    assert len(np.unique(q[:, 0])) == 6
    assert not np.array_equal(q, policy.act(obs).extras[c.Q_VALUES]), "new for every row"
    still = policy.act(obs, explore=False).extras[c.Q_VALUES]
    assert np.ptp(still, axis=0).max() < 1e-6
    np.testing.assert_array_equal(still, policy.act(obs, explore=False).extras[c.Q_VALUES])


@pytest.mark.parametrize("dueling", [True, False])
def test_the_values_of_a_distribution_are_its_means(dueling):
    policy = QPolicy(VECTOR, Discrete(3), dueling=dueling, support=Support(-2.0, 4.0, 7))
    obs = torch.from_numpy(observations(5))
    logits = policy.model.logits(obs).detach().numpy().astype(np.float64)
    assert logits.shape == (5, 3, 7)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = p @ np.linspace(-2, 4, 7)
    np.testing.assert_allclose(policy.q_values(obs).detach(), expected, atol=1e-5)
    np.testing.assert_allclose(policy.act(obs.numpy()).extras[c.Q_VALUES], expected, atol=1e-5)


def test_epsilon_follows_the_runs_env_steps_and_is_the_last_outside_of_training():
    policy = QPolicy(VECTOR, Discrete(3), epsilon_schedule=EpsilonSchedule(1.0, 0.1, 1000))
    policy.act(observations(2))
    assert policy.epsilons == [0.1]
    for steps, epsilon in ((0, 1.0), (500, 0.55), (5000, 0.1)):
        policy.timesteps = steps
        policy.act(observations(2))
        assert policy.epsilons == pytest.approx([epsilon])


def test_a_timestep_says_where_schedules_stand_for_one_call_alone():
    policy = QPolicy(VECTOR, Discrete(3), epsilon_schedule=EpsilonSchedule(1.0, 0.0, 1000))
    obs = np.zeros((60, 4), np.float32)
    assert set(policy.compute_actions(obs, timestep=0)[0]) == {0, 1, 2}
    assert len(set(policy.compute_actions(obs)[0])) == 1, "as at the end of all schedules again"
