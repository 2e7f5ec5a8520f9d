import math

import numpy as np
import yaml

from actorrl.experiment.pretty import pretty_print


def test_a_result_becomes_sorted_yaml_without_what_says_nothing():
    result = {
        "training_iteration": 3,
        "episode_reward_mean": np.float32(1 / 3),
        "evaluation": {},
        "samples_per_insert": math.nan,
        "info": {"learner": {"kl": 0.012345678, "stats": (1, 2)}},
    }
    text = pretty_print(result)
    assert yaml.safe_load(text) == {
        "episode_reward_mean": 0.333333,
        "info": {"learner": {"kl": 0.0123457, "stats": [1, 2]}},
        "training_iteration": 3,
    }
    assert text.index("episode_reward_mean") < text.index("training_iteration")
