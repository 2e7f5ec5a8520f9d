"""What the algorithms with a value function have in common."""

from __future__ import annotations

from typing import Any

import pytest

from actorrl.algorithms.registry import config_class


@pytest.mark.parametrize("algo", ["A2C", "A3C", "PPO", "IMPALA", "APPO"])
def test_an_lstm_is_refused_where_the_row_behind_an_end_is_missing(algo: str) -> None:
    config = config_class(algo)().training(model={"use_lstm": True}, autoreset="same_step")
    assert config.validate() == [
        "autoreset: same_step together with model.use_lstm, which needs the row behind each end,"
        " expected next_step"
    ]
    assert config.training(autoreset="next_step").validate() == []


@pytest.mark.parametrize("algo", ["A2C", "A3C", "PPO", "IMPALA", "APPO"])
def test_a_row_tells_the_weight_of_the_entropy(algo: str, tmp_path: Any) -> None:
    config = config_class(algo)().environment("CartPole-v1").rollouts(num_workers=0)
    config.training(entropy_coeff_schedule=[[0, 0.5], [10_000_000, 0.4]])
    config.training(model={"fcnet_hiddens": [4]}, min_time_s_per_iteration=0)
    with config.build(results=tmp_path, name="run", announce=False) as algorithm:
        learner = algorithm.train()["info"]["learner"]
    assert 0.4999 < learner["entropy_coeff"] <= 0.5 and "cur_lr" in learner
