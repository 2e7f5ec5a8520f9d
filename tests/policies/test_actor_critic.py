from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from actorrl.algorithms.optimizer import Optimizer
from actorrl.data import columns as c
from actorrl.errors import ConfigError
from actorrl.losses.policy_gradient import impala_loss
from actorrl.models.catalog import ModelConfig
from actorrl.models.frames import final_observations
from actorrl.policies.actor_critic import ActorCriticPolicy
from tests.policies.fragments import Stream

torch.set_num_threads(1)
VECTOR, SCREEN = Box(-np.inf, np.inf, (4,)), Box(0, 255, (36, 40), np.uint8)


def test_act_returns_the_columns_of_a_fragment():
    policy = ActorCriticPolicy(VECTOR, Discrete(3))
    obs = np.random.default_rng(0).normal(size=(8, 4))
    obs.flags.writeable = False
    act = policy.act(obs)
    assert act.actions.shape == (8,) and act.actions.dtype == np.int64
    shapes = {name: x.shape for name, x in act.extras.items()}
    assert shapes == {c.ACTION_LOGP: (8,), c.ACTION_DIST_INPUTS: (8, 3), c.VF_PREDS: (8,)}
    assert all(x.dtype == np.float32 for x in act.extras.values())
    assert act.state == ()


def test_the_same_seed_draws_the_same_weights_and_actions():
    obs = np.random.default_rng(0).normal(size=(500, 4)).astype(np.float32)
    one, same, other = (ActorCriticPolicy(VECTOR, Discrete(3), seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.flat_weights(), same.flat_weights())
    np.testing.assert_array_equal(one.act(obs).actions, same.act(obs).actions)
    assert (one.flat_weights() != other.flat_weights()).any()
    state = one.random_state()
    drawn = one.act(obs).actions
    one.set_random_state(state)
    np.testing.assert_array_equal(one.act(obs).actions, drawn)


def test_the_users_random_numbers_are_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ActorCriticPolicy(VECTOR, Discrete(3), seed=9)
    assert torch.equal(torch.rand(3), expected)


def test_without_exploration_the_most_probable_action_is_taken():
    policy = ActorCriticPolicy(VECTOR, Discrete(3))
    obs = np.random.default_rng(0).normal(size=(50, 4))
    act = policy.act(obs, explore=False)
    np.testing.assert_array_equal(act.actions, act.extras[c.ACTION_DIST_INPUTS].argmax(1))


def test_a_fresh_policy_is_nearly_even():
    policy = ActorCriticPolicy(VECTOR, Discrete(4))
    logits = policy.act(np.random.default_rng(0).normal(size=(50, 4))).extras[c.ACTION_DIST_INPUTS]
    assert np.abs(logits).max() < 0.2


def test_values_after_ends_come_from_the_final_observations_under_same_step():
    T, B = 4, 3
    policy = ActorCriticPolicy(VECTOR, Discrete(2))
    random = np.random.default_rng(0)
    columns = policy.tensors(
        {
            c.OBS: random.normal(size=(T + 1, B, 4)).astype(np.float32),
            c.FINAL_OBS: random.normal(size=(2, 4)).astype(np.float32),
            c.FINAL_ROWS: np.array([1 * B + 2, 3 * B + 0]),
        }
    )
    _, values = policy.forward_sequence(columns, T, B)
    following = policy.next_values(columns, values)
    finals = policy.act(columns[c.FINAL_OBS].numpy()).extras[c.VF_PREDS]
    expected = values[1:].detach().numpy().copy()
    expected[1, 2], expected[3, 0] = finals
    np.testing.assert_allclose(following, expected, atol=1e-6)
    assert not following.requires_grad and values.requires_grad


def test_no_final_observations_change_nothing():
    policy = ActorCriticPolicy(VECTOR, Discrete(2))
    columns = policy.tensors({c.OBS: np.ones((3, 2, 4), np.float32)})
    none = {c.FINAL_OBS: np.empty((0, 4), np.float32), c.FINAL_ROWS: np.empty(0, np.int64)}
    _, values = policy.forward_sequence(columns, 2, 2)
    both = {**columns, **policy.tensors(none)}
    assert torch.equal(policy.next_values(both, values), values[1:])


def test_a_single_final_frame_goes_on_top_of_its_rows_stack():
    k, T, B = 3, 4, 2
    policy = ActorCriticPolicy(SCREEN, Discrete(2), frame_stack=k)
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (k + T, B, 36, 40), dtype=np.uint8)
    final = random.integers(0, 256, (2, 36, 40), dtype=np.uint8)
    age = np.full((T + 1, B), 9, np.int32)
    age[0, 1], age[1, 1], age[2, 1] = 0, 1, 0  # environment 1 ends at row 1
    columns = {
        c.FRAMES: frames,
        c.AGE: age,
        c.FINAL_OBS: final,
        c.FINAL_ROWS: np.array([2 * B + 0, 1 * B + 1]),
    }
    stacks = final_observations(policy.tensors(columns), k).numpy()
    np.testing.assert_array_equal(stacks[0], [frames[3, 0], frames[4, 0], final[0]])
    np.testing.assert_array_equal(stacks[1], [frames[2, 1], frames[3, 1], final[1]])
    values = policy.final_values(policy.tensors(columns))
    np.testing.assert_allclose(policy.act(stacks).extras[c.VF_PREDS], values, atol=1e-5)


def test_an_lstm_refuses_final_observations():
    policy = ActorCriticPolicy(VECTOR, Discrete(2), model_config=ModelConfig(use_lstm=True))
    columns = policy.tensors({c.FINAL_OBS: np.ones((1, 4)), c.FINAL_ROWS: np.zeros(1, np.int64)})
    with pytest.raises(ConfigError, match="same_step together with use_lstm"):
        policy.next_values(columns, torch.zeros(2, 1))


@pytest.mark.parametrize("settings", [{}, {"use_lstm": True}])
def test_a_learner_can_learn_from_a_fragment(settings):
    """Twenty steps on one fragment raise the probability of its good actions."""
    T, B = 10, 4
    policy = ActorCriticPolicy(VECTOR, Discrete(3), model_config=ModelConfig(**settings))
    columns = Stream(policy, B).collect(T)
    columns[c.REWARDS] = (columns[c.ACTIONS] == 1).astype(np.float32) * columns[c.VALID]
    tensors = policy.tensors(columns)
    optimizer = torch.optim.Adam([policy.flat.vector], lr=0.01)
    chances = []
    for _ in range(20):
        logits, values = policy.forward_sequence(tensors, T, B)
        dist = policy.distribution(logits)
        loss = impala_loss(
            logp=dist.logp(tensors[c.ACTIONS]),
            entropy=dist.entropy(),
            values=values[:-1],
            next_values=policy.next_values(tensors, values),
            behaviour_logp=tensors[c.ACTION_LOGP],
            rewards=tensors[c.REWARDS],
            terminateds=tensors[c.TERMINATEDS],
            truncateds=tensors[c.TRUNCATEDS],
            valid=tensors[c.VALID],
            gamma=0.0,
        )
        policy.flat.zero_gradient()
        loss.total.backward()
        policy.flat.clip_gradient(1.0)
        optimizer.step()
        chances.append(torch.softmax(logits, -1)[..., 1].mean().item())
    assert chances[-1] > chances[0] + 0.1


def test_a_gradient_of_one_policy_can_be_applied_in_another():
    worker, server = (ActorCriticPolicy(VECTOR, Discrete(3), seed=s) for s in (1, 2))
    worker.load_flat(server.flat_weights(), version=7)
    assert worker.version == 7
    obs = torch.randn(5, 4)
    worker.model(obs)[0].square().sum().backward()
    gradient = worker.flat_gradient()
    before = server.flat_weights()
    server.set_flat_gradient(gradient)
    torch.optim.SGD([server.flat.vector], lr=0.5).step()
    np.testing.assert_allclose(server.flat_weights(), before - 0.5 * gradient, atol=1e-6)


def test_bf16_runs_the_body_only_and_stays_near():
    policy = ActorCriticPolicy(SCREEN, Discrete(3), frame_stack=4)
    obs = np.random.default_rng(0).integers(0, 256, (4, 4, 36, 40), dtype=np.uint8)
    exact = policy.act(obs)
    policy.use_precision("bf16")
    rough = policy.act(obs)
    assert all(x.dtype == np.float32 for x in rough.extras.values())
    difference = np.abs(rough.extras[c.VF_PREDS] - exact.extras[c.VF_PREDS])
    assert 0 < difference.max() < 0.05
    with pytest.raises(ConfigError, match="expected fp32 or bf16"):
        policy.use_precision("fp8")


@pytest.mark.parametrize("settings", [{}, {"use_lstm": True}, {"vf_share_layers": False}])
def test_in_bf16_acting_sees_what_learning_sees_also_of_newer_weights(settings):
    """Acting has copies of the weights that are cast already."""
    policy = ActorCriticPolicy(SCREEN, Discrete(3), 4, ModelConfig(**settings))
    policy.use_precision("bf16")
    obs = np.random.default_rng(0).integers(0, 256, (2, 4, 36, 40), dtype=np.uint8)

    def differences():
        acted = policy.act(obs, policy.initial_state(2)).extras
        state = policy.model.initial_state(2)
        inputs, values, _ = policy.model.sequence(torch.from_numpy(obs).unsqueeze(0), state)
        learned = {c.ACTION_DIST_INPUTS: inputs[0], c.VF_PREDS: values[0]}
        return [np.abs(acted[n] - x.detach().numpy()).max() for n, x in learned.items()]

    optimizer = Optimizer(policy, 1e-2)
    before = policy.act(obs, policy.initial_state(2)).extras[c.VF_PREDS]
    assert max(differences()) < 1e-6
    policy.load_flat(policy.flat_weights() * np.float32(1.1), version=1)
    assert max(differences()) < 1e-6
    state = policy.model.initial_state(2)
    optimizer.minimize(policy.model.sequence(torch.from_numpy(obs)[None], state)[1].sum(), 0)
    assert max(differences()) < 1e-6
    with torch.no_grad():
        policy.flat.vector *= 1.1
    policy.weights_replaced()
    assert max(differences()) < 1e-6
    assert np.abs(policy.act(obs, policy.initial_state(2)).extras[c.VF_PREDS] - before).min() > 0


def test_the_bootstrap_row_of_images_has_a_value_and_no_gradient():
    policy = ActorCriticPolicy(SCREEN, Discrete(3))
    obs = torch.randint(0, 256, (5, 2, 36, 40), dtype=torch.uint8)
    gradients = []
    for inputs, values in (
        policy.forward_sequence({c.OBS: obs}, 4, 2),
        policy.model.sequence(obs)[:2],
    ):
        assert values.shape == (5, 2)
        policy.flat.zero_gradient()
        (inputs[:4].square().sum() + values[:4].square().sum()).backward(retain_graph=True)
        gradients.append(policy.flat_gradient())
    np.testing.assert_allclose(*gradients, atol=1e-4, rtol=1e-4)
    values = policy.forward_sequence({c.OBS: obs}, 4, 2).values
    torch.testing.assert_close(values, policy.model.sequence(obs)[1])
    policy.flat.zero_gradient()
    values[4].sum().backward()
    assert not policy.flat.has_gradient()
