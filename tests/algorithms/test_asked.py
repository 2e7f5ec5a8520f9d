"""RLlib's other ways to ask for an action: `input_dict`, `unsquash_action`, `clip_action`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from actorrl.algorithms.asked import Asked, check_units, preprocessed
from actorrl.algorithms.registry import config_class
from actorrl.errors import ConfigError
from actorrl.models.action_layout import action_layout
from actorrl.policies.actor_critic import ActorCriticPolicy

VECTOR, FINITE = spaces.Box(-1, 1, (2,)), spaces.Box(-0.5, 0.25, (1,))
OPEN = spaces.Box(-np.inf, np.inf, (1,))
BOTH = spaces.Tuple([spaces.Discrete(3), FINITE])
CLIPPED = {"normalize_actions": False, "clip_actions": True}
RAW = {"normalize_actions": False}


def check(space: Any, settings: dict[str, Any], unsquash: Any, clip: Any) -> None:
    config = config_class("PPO")().environment(**settings)
    policy = ActorCriticPolicy(VECTOR, space)
    policy.action_layout = action_layout(space, config.action_units())
    check_units(config, policy, unsquash, clip)


@pytest.mark.parametrize(
    ("space", "settings", "unsquash", "clip"),
    [
        (FINITE, {}, None, None),
        (FINITE, {}, True, None),
        (FINITE, {}, None, False),  # RLlib's scaling clips
        (BOTH, {}, True, True),
        (FINITE, CLIPPED, False, True),
        (FINITE, CLIPPED, None, True),
        (FINITE, RAW, False, False),
        (spaces.Discrete(3), {}, False, False),
        (OPEN, {}, False, True),  # has no bounds
    ],
)
def test_who_says_what_the_run_does_anyway_gets_it(
    space: Any, settings: dict[str, Any], unsquash: Any, clip: Any
) -> None:
    check(space, settings, unsquash, clip)


@pytest.mark.parametrize(
    ("space", "settings", "unsquash", "clip", "said"),
    [
        (FINITE, {}, False, None, "scaled and clipped to their bounds"),
        (BOTH, {}, False, True, "scaled and clipped to their bounds"),
        (FINITE, CLIPPED, True, None, "clipped to their bounds"),
        (FINITE, CLIPPED, None, False, "clipped to their bounds"),
        (FINITE, RAW, None, True, "as they are learned"),
    ],
)
def test_actions_in_other_units_are_refused(
    space: Any, settings: dict[str, Any], unsquash: Any, clip: Any, said: str
) -> None:
    with pytest.raises(ConfigError, match=f"actions come as .* get them, {said}"):
        check(space, settings, unsquash, clip)


def test_a_dict_says_it_all() -> None:
    given = {"obs": 1, "state_in_1": 3, "state_in_0": 2, "prev_actions": 4, "prev_rewards": 5}
    assert Asked(None).or_of(given) == (1, [2, 3], 4, 5)
    assert Asked(None).or_of({"obs": 1, "t": 7}) == (1, None, None, None)
    assert Asked(1, 2).or_of(None) == (1, 2, None, None)


def test_what_is_said_twice_or_not_at_all_is_refused() -> None:
    for given in (Asked(1), Asked(None, [2]), Asked(None, prev_reward=0.0)):
        with pytest.raises(ConfigError, match="input_dict: together with observation, state"):
            given.or_of({"obs": 1})
    with pytest.raises(ConfigError, match="input_dict: no 'obs' among new_obs, t"):
        Asked(None).or_of({"new_obs": 1, "t": 2})
    with pytest.raises(ConfigError, match="observation: missing"):
        Asked(None).or_of(None)


def test_an_observation_that_is_none_of_the_environments_is_told_of() -> None:
    assert preprocessed(VECTOR, [0.5, 0.25]).tolist() == [0.5, 0.25]
    with pytest.raises(ConfigError, match=r"^observation: .* expected the obs of `obs, info = env"):
        preprocessed(VECTOR, (np.zeros(2, np.float32), {}))
    for space, wrong in ((VECTOR, "left"), (spaces.Discrete(3), None), (BOTH, 3)):
        with pytest.raises(ConfigError, match=r"^observation: .* is none of "):
            preprocessed(space, wrong)
