"""Stop criteria."""

import math

import numpy as np
import pytest

from actorrl.errors import ConfigError
from actorrl.experiment.stop import StopCriteria, check_stop, lookup

RESULT = {
    "timesteps_total": 1000,
    "episode_reward_mean": 20.5,
    "episode_reward_max": float("nan"),
    "evaluation": {"episode_reward_mean": np.float32(30.0)},
    "info": {"learner": {"loss": -1.0}, "text": "12"},
}


@pytest.mark.parametrize(
    ("criteria", "reached"),
    [
        ({}, None),
        ({"timesteps_total": 1000}, "timesteps_total"),
        ({"timesteps_total": 1001}, None),
        ({"timesteps_total": "1e3"}, "timesteps_total"),
        ({"episode_reward_mean": 20.6, "timesteps_total": 5}, "timesteps_total"),
        ({"episode_reward_max": -1000}, None),
        ({"episode_len_mean": 0}, None),
        ({"evaluation/episode_reward_mean": 30}, "evaluation/episode_reward_mean"),
        ({"info/learner/loss": -2}, "info/learner/loss"),
        ({"info/learner": 0}, None),
        ({"info/text": 1}, None),
        ({"custom_metrics/absent": 0}, None),
    ],
)
def test_the_first_key_that_is_at_its_target_is_reached(criteria, reached):
    assert StopCriteria(criteria).reached(RESULT) == reached


def test_a_key_that_has_a_slash_itself_is_found():
    assert lookup({"custom_metrics/a": 3}, "custom_metrics/a") == 3.0


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("episode_reward", 1, "did you mean 'episode_reward_mean'?"),
        ("zzz", 1, "one of training_iteration, "),
        ("info", 1, "'info/NAME' is accepted"),
        ("timesteps_total", "many", "'many' is not a number"),
        ("timesteps_total", True, "True is not a number"),
        ("timesteps_total", None, "None is not a number"),
        ("timesteps_total", math.nan, "nan is not a number"),
    ],
)
def test_a_mistake_is_named_with_what_is_accepted(key, value, line):
    errors = check_stop({key: value, "num_updates": 5})
    assert len(errors) == 1
    assert errors[0].startswith(f"{key}: ") and line in errors[0]
    assert "\n" not in errors[0]


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        StopCriteria({"episode_reward_men": 1, "training_iteration": "x"})
    assert len(caught.value.messages) == 2


def test_criteria_describe_themselves():
    stop = StopCriteria({"episode_reward_mean": 475, "timesteps_total": 1e6})
    assert stop.describe() == "episode_reward_mean >= 475 or timesteps_total >= 1e+06"
    assert stop and not StopCriteria()
