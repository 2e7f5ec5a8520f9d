from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

import actorrl
from actorrl.data.sample_batch import SampleBatch, concat_samples
from actorrl.errors import ConfigError
from actorrl.policies.builder import build_torch_policy, make_policy

torch.set_num_threads(1)
VECTOR = Box(-1, 1, (2,))


def policy_gradient_loss(policy, model, dist_class, train_batch):
    logits, _ = model.from_batch(train_batch)
    action_dist = dist_class(logits, model)
    return -torch.mean(action_dist.logp(train_batch["actions"]) * train_batch["rewards"])


MyTorchPolicy = build_torch_policy(name="MyTorchPolicy", loss_fn=policy_gradient_loss)


def play(policy, rows=200, seed=0):
    """One step each: the first observation's sign says which action has the reward."""
    obs = np.random.default_rng(seed).uniform(-1, 1, (rows, 2)).astype(np.float32)
    act = policy.act(obs)
    good = act.actions == (obs[:, 0] > 0)
    rewards = np.where(good, 1.0, -1.0).astype(np.float32)
    return SampleBatch(obs=obs, actions=act.actions, rewards=rewards), good.mean()


def test_the_loss_of_the_documentation_learns():
    policy = MyTorchPolicy(VECTOR, Discrete(2), {"lr": 0.01}, seed=1)
    assert type(policy).__name__ == "MyTorchPolicy"
    for step in range(100):
        batch, share = play(policy, seed=step)
        stats = policy.learn_on_batch(batch)["learner_stats"]
        assert np.isfinite(list(stats.values())).all()
    assert share > 0.85


def test_one_call_is_one_step_and_gradients_add_up():
    """The gradient of a batch is the mean of its halves' gradients."""
    policy = make_policy(loss_fn=policy_gradient_loss)(VECTOR, Discrete(2), seed=3)
    batch, _ = play(policy)
    (whole,), _ = policy.compute_gradients(batch)
    halves = [policy.compute_gradients(batch[a : a + 100])[0][0] for a in (0, 100)]
    np.testing.assert_allclose(whole, (halves[0] + halves[1]) / 2, atol=1e-6)
    other = make_policy(loss_fn=policy_gradient_loss)(VECTOR, Discrete(2), seed=3)
    policy.learn_on_batch(batch)
    other.apply_gradients([whole])
    np.testing.assert_allclose(policy.flat_weights(), other.flat_weights(), atol=1e-6)


@pytest.mark.parametrize(
    ("what", "loss"),
    [("loss", lambda x: x.sum() * float("nan")), ("gradient", lambda x: (x - x).sum().sqrt())],
)
def test_a_loss_or_gradient_that_is_not_finite_leaves_the_weights(what, loss):
    policy = make_policy(loss_fn=lambda p, m, d, b: loss(m(b)[0]))(VECTOR, Discrete(2))
    before = policy.flat_weights()
    with pytest.raises(ValueError, match=f"{what} of CustomPolicy is nan"):
        policy.learn_on_batch(play(policy)[0])
    np.testing.assert_array_equal(policy.flat_weights(), before)


def test_the_model_gives_values_after_its_forward():
    def loss(policy, model, dist_class, batch):
        model(batch)
        return (model.value_function() - batch["obs"][:, 0]).square().mean()

    policy = make_policy(loss_fn=loss)(VECTOR, Discrete(2), {"lr": 0.02, "grad_clip": 1.0})
    batch, _ = play(policy)
    losses = [policy.learn_on_batch(batch)["learner_stats"]["total_loss"] for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


def test_recurrent_models_are_refused():
    with pytest.raises(ConfigError, match="use_lstm"):
        MyTorchPolicy(VECTOR, Discrete(2), {"model": {"use_lstm": True}})


def rewards_to_come(policy, sample_batch, other_agent_batches=None, episode=None):
    """Each row's reward is what came from it on, discounted."""
    returns, total = [], 0.0
    for reward in reversed(sample_batch["rewards"].tolist()):
        total = reward + 0.99 * total
        returns.append(total)
    rewards = np.array(returns[::-1], np.float32)
    return SampleBatch({**sample_batch, "rewards": rewards})


def play_episode(policy, env, seed):
    obs, rows = env.reset(seed=seed)[0], []
    ended = False
    while not ended:
        action, _, _ = policy.compute_single_action(obs, explore=True)
        after, reward, terminated, truncated, _ = env.step(int(action))
        rows.append((obs, action, reward))
        obs, ended = after, terminated or truncated
    columns = [np.array(column, np.float32) for column in zip(*rows, strict=True)]
    return SampleBatch(obs=columns[0], actions=columns[1].astype(np.int64), rewards=columns[2])


@pytest.mark.slow
def test_the_loss_of_the_documentation_trains_cartpole_to_150():
    env = gymnasium.make("CartPole-v1")
    built = actorrl.build_torch_policy(
        name="Built",
        loss_fn=policy_gradient_loss,
        postprocess_fn=rewards_to_come,
        get_default_config=lambda: {"lr": 0.01},
    )
    policy = built(env.observation_space, env.action_space, seed=1)
    best = 0.0
    for update in range(80):
        episodes = [play_episode(policy, env, 1000 * update + i) for i in range(8)]
        best = max(best, float(np.mean([len(rows["rewards"]) for rows in episodes])))
        if best >= 150:
            break
        batch = concat_samples([policy.postprocess_trajectory(rows) for rows in episodes])
        rewards = batch["rewards"]
        batch["rewards"] = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        policy.learn_on_batch(batch)
    assert best >= 150
