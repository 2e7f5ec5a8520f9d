"""The updates of DDPG, TD3 and SAC, step by step: what moves when, and by how much."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.ddpg import DeterministicUpdate
from actorrl.algorithms.sac import SACUpdate
from actorrl.data import columns as c
from tests.losses import reference_q as reference
from tests.roles import worlds

torch.set_num_threads(1)
N = 12
UPDATES: dict[str, Any] = {
    "DDPG": DeterministicUpdate,
    "TD3": DeterministicUpdate,
    "SAC": SACUpdate,
}


def update_of(name: str, env: str = "Pendulum-v1", **settings: Any) -> Any:
    config, info = worlds.configured(name, env, **settings)
    return UPDATES[name](config, info, 0, "cpu")


def batch_of(seed: int = 0, size: int = 3, discrete: bool = False) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(seed)
    batch = {
        c.OBS: random.normal(size=(N, size)),
        c.NEXT_OBS: random.normal(size=(N, size)),
        c.REWARDS: random.normal(size=N),
        c.DISCOUNTS: random.choice([0.99, 0.0], size=N),
        c.WEIGHTS: random.uniform(0.5, 1.0, size=N),
    }
    tensors = {name: torch.from_numpy(x).float() for name, x in batch.items()}
    actions = random.integers(2, size=N) if discrete else random.uniform(-1, 1, size=(N, 1))
    tensors[c.ACTIONS] = torch.from_numpy(actions if discrete else actions.astype(np.float32))
    return tensors


def part(update: Any, name: str) -> np.ndarray:
    weights: np.ndarray = update.policy.flat_weights()[update.policy.flat.span(name)]
    return weights


def test_td3s_actor_and_targets_move_once_in_two_updates() -> None:
    update = update_of("TD3", policy_delay=2)
    actors, targets, critics = [part(update, "actor")], [update._target.flat_weights()], []
    for step in range(4):
        update(batch_of(step), 0)
        actors.append(part(update, "actor"))
        targets.append(update._target.flat_weights())
        critics.append(part(update, "critics"))
    moved = [not np.array_equal(a, b) for a, b in itertools.pairwise(actors)]
    assert moved == [False, True, False, True]
    moved = [not np.array_equal(a, b) for a, b in itertools.pairwise(targets)]
    assert moved == [False, True, False, True]
    assert not np.array_equal(critics[0], critics[1])


@pytest.mark.parametrize("name", ["DDPG", "TD3", "SAC"])
def test_targets_follow_by_tau(name: str) -> None:
    update = update_of(name, tau=0.25, **({} if name == "SAC" else {"policy_delay": 1}))
    before = update._target.flat_weights().astype(np.float64)
    update(batch_of(), 0)
    online = update.policy.flat_weights()
    expected = before + 0.25 * (online - before)
    np.testing.assert_allclose(update._target.flat_weights(), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["DDPG", "SAC"])
def test_the_gradients_of_critics_and_actor_are_told_apart(name: str) -> None:
    update = update_of(name)
    metrics = update(batch_of(), 0)
    for key, of in (("grad_gnorm", "critics"), ("actor_grad_gnorm", "actor")):
        gradient = update.policy.flat_gradient()[update.policy.flat.span(of)]
        assert float(metrics[key]) == pytest.approx(np.linalg.norm(gradient), rel=1e-4)
    assert metrics["grad_gnorm"] != metrics["actor_grad_gnorm"]


def test_mean_q_is_the_first_critics_value_of_the_actions_taken() -> None:
    update, batch = update_of("TD3"), batch_of()
    with torch.no_grad():
        wanted = update.policy.q_values(batch[c.OBS], batch[c.ACTIONS])[0].mean()
    assert float(update(batch, 0)["mean_q"]) == pytest.approx(float(wanted), rel=1e-5)


def test_td3s_targets_are_the_smaller_values_at_actions_with_clipped_noise() -> None:
    update = update_of("TD3", target_noise=5.0, target_noise_clip=0.1)
    batch = batch_of()
    target = update._target.model
    still = target.actor(batch[c.NEXT_OBS])
    found = update._targets(batch).numpy()
    noise = torch.empty_like(still).normal_(generator=torch.Generator().manual_seed(0)) * 5.0
    actions = (still + noise.clamp(-0.1, 0.1)).clamp(-1, 1)
    one, two = (q.numpy() for q in target.q_values(batch[c.NEXT_OBS], actions))
    expected = reference.bootstrapped(
        batch[c.REWARDS].numpy(), batch[c.DISCOUNTS].numpy(), np.minimum(one, two)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_actors_step_goes_up_the_first_critic_and_moves_nothing_else() -> None:
    """Against finite differences of mean Q(s, mu(s)), short ones: few units change sides."""
    update = update_of("DDPG")
    policy, obs = update.policy, batch_of()[c.OBS]
    span = policy.flat.span("actor")
    weights = policy.flat_weights()
    critics = part(update, "critics")

    def mean_q(flat: np.ndarray) -> float:
        policy.flat.load(flat)
        with torch.no_grad():
            return float(policy.model.critics[0](obs, policy.actor(obs)).double().mean())

    chosen = np.arange(span.start, span.stop)[:: (span.stop - span.start) // 10]
    slopes = []
    for i in chosen:
        up, down = weights.copy(), weights.copy()
        up[i] += 1e-3
        down[i] -= 1e-3
        slopes.append((mean_q(up) - mean_q(down)) / (float(up[i]) - float(down[i])))
    policy.flat.load(weights)
    update._step_actor(obs, 0)
    gradient = policy.flat_gradient()
    np.testing.assert_allclose(-gradient[chosen], slopes, rtol=1e-2, atol=2e-4)
    np.testing.assert_array_equal(part(update, "critics"), critics)


@pytest.mark.parametrize("env", ["Pendulum-v1", "CartPole-v1"])
def test_sacs_three_parts_move_by_their_own_losses(env: str) -> None:
    """With one part's step size next to nothing, only the others move."""
    discrete = env == "CartPole-v1"
    batch = batch_of(size=4 if discrete else 3, discrete=discrete)
    names = ("actor", "critics", "log_alpha")
    settings = {"actor": "actor_lr", "critics": "critic_lr", "log_alpha": "alpha_lr"}
    for still in names:
        update = update_of("SAC", env, **{settings[still]: 1e-30})
        before = {name: part(update, name) for name in names}
        update(batch, 0)
        for name in names:
            same = np.allclose(part(update, name), before[name], rtol=0, atol=1e-12)
            assert same == (name == still), (still, name)


def test_sacs_temperature_follows_the_distance_from_the_target_entropy() -> None:
    """Adam's own first steps over gradients entropy - target."""
    update = update_of("SAC", "CartPole-v1", target_entropy=0.5, alpha_lr=0.01, initial_alpha=1.0)
    gradients = []
    for step in range(3):
        metrics = update(batch_of(step, size=4, discrete=True), 0)
        gradients.append(np.array([float(metrics["entropy"]) - 0.5]))
    expected = reference.adam(np.zeros(1), gradients, 0.01)
    np.testing.assert_allclose(part(update, "log_alpha"), expected, atol=1e-6)


def test_sacs_own_target_entropies() -> None:
    assert update_of("SAC")._target_entropy == -1.0
    discrete = update_of("SAC", "CartPole-v1")._target_entropy
    assert discrete == pytest.approx(0.2 * np.log(2))


@pytest.mark.parametrize("name", ["DDPG", "TD3", "SAC"])
def test_a_state_goes_on_as_the_update_that_it_was_taken_from(name: str) -> None:
    one, other = update_of(name), update_of(name)
    for step in range(3):
        one(batch_of(step), 0)
    other.policy.flat.load(one.policy.flat_weights())
    other.load_state_dict(one.state_dict())
    for step in range(3, 6):
        one(batch_of(step), 0)
        other(batch_of(step), 0)
    np.testing.assert_array_equal(one.policy.flat_weights(), other.policy.flat_weights())
    np.testing.assert_array_equal(one._target.flat_weights(), other._target.flat_weights())
