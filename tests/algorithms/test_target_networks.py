"""What target networks do when weights are replaced otherwise than by learning."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from actorrl.algorithms import apex_dqn, dqn
from actorrl.algorithms.appo import APPOUpdate
from actorrl.algorithms.ddpg import DeterministicUpdate
from actorrl.algorithms.sac import SACUpdate
from actorrl.roles import partners
from actorrl.roles.several_policies import SeveralUpdates
from actorrl.roles.shown_update import showing
from actorrl.rollouts.callbacks import DefaultCallbacks
from tests.roles import worlds

UPDATES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "DQN": (dqn.make_update, "CartPole-v1", {}),
    "APEX": (apex_dqn.make_update, "CartPole-v1", {}),
    "SAC": (SACUpdate, "CartPole-v1", {}),
    "DDPG": (DeterministicUpdate, "Pendulum-v1", {}),
    "TD3": (DeterministicUpdate, "Pendulum-v1", {}),
    "APEX_DDPG": (DeterministicUpdate, "Pendulum-v1", {}),
    "APPO": (APPOUpdate, "CartPole-v1", {"target_network_update_freq": 4}),
}
each_family = pytest.mark.parametrize("name", UPDATES)


def maker(name: str, seed: int = 0) -> Any:
    update, env, settings = UPDATES[name]
    config, info = worlds.configured(name, env, **settings)
    return functools.partial(update, config, info, seed)


def target_of(update: Any) -> np.ndarray:
    target: np.ndarray = update.state_dict()["target"]
    return target


def raised(policy: Any) -> dict[str, np.ndarray]:
    return {name: array + 1 for name, array in policy.get_weights().items()}


@each_family
def test_a_target_takes_over_weights_that_are_set(name: str) -> None:
    update = maker(name)("cpu")
    first = update.policy.flat_weights()
    update.policy.set_weights(raised(update.policy))
    np.testing.assert_array_equal(target_of(update), first + 1)


class Raising(DefaultCallbacks):
    """Not by `set_weights`, so that nobody is told."""

    def on_create_policy(self, *, policy_id: str, policy: Any) -> None:
        policy.flat.load(policy.flat_weights() + 1)


@each_family
def test_a_target_begins_with_what_a_callback_has_made_of_the_policy(name: str) -> None:
    first = maker(name)("cpu").policy.flat_weights()
    update = showing(maker(name), Raising, "default_policy")("cpu")
    np.testing.assert_array_equal(update.policy.flat_weights(), first + 1)
    np.testing.assert_array_equal(target_of(update), first + 1)


@each_family
def test_a_checkpoints_own_target_is_kept(name: str) -> None:
    update = maker(name)("cpu")
    target = target_of(update)
    update.policy.flat.load(target + 1)
    state = {"weights": update.policy.flat_weights(), "update": update.state_dict()}
    restored = maker(name, seed=1)("cpu")
    partners.load(restored, state)
    np.testing.assert_array_equal(restored.policy.flat_weights(), target + 1)
    np.testing.assert_array_equal(target_of(restored), target)


def test_of_several_policies_only_the_targets_of_those_that_are_set_follow() -> None:
    update = SeveralUpdates({"a": maker("DQN"), "b": maker("DQN", seed=1)}, ["a", "b"], "cpu")
    for part in ("a", "b"):
        policy = update.policy[part]
        policy.flat.load(policy.flat_weights() + 1)
    weights = raised(update.policy["a"])
    update.policy.set_weights({f"a/{name}": array for name, array in weights.items()})
    targets = {part: state["target"] for part, state in update.state_dict().items()}
    np.testing.assert_array_equal(targets["a"], update.policy["a"].flat_weights())
    np.testing.assert_array_equal(targets["b"] + 1, update.policy["b"].flat_weights())
