"""What an algorithm has no use for is said when it is given, and only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actorrl.algorithms.pg import PG
from actorrl.algorithms.registry import config_class, names
from actorrl.algorithms.without_effect import notices

SAID = [
    ("A3C", {"train_batch_size": 500}, "each step follows the gradient of one worker's fragment"),
    ("ES", {"gamma": 0.99}, "returns are plain sums of rewards"),
    ("ARS", {"rollout_fragment_length": 9}, "workers play whole episodes"),
    ("BC", {"entropy_coeff": 0.1}, "the loss is the likelihood of recorded actions alone"),
    ("BC", {"explore": False}, "nobody acts but in evaluations"),
    ("PPO", {"min_time_s_per_iteration": 9}, "an iteration is so many rows or updates"),
    ("DQN", {"noisy": True, "final_epsilon": 0.1}, "noisy layers explore"),
    ("DQN", {"exploration_type": "soft_q", "initial_epsilon": 0.5}, "soft_q explores by its temp"),
    ("SAC", {"model": {"free_log_std": True}}, "actions are not drawn from a distribution of the"),
    ("APEX", {"model": {"vf_share_layers": True}}, "there is no value function beside the policy"),
    ("ARS", {"model": {"post_fcnet_hiddens": [8]}}, "what evolves are the layers of fcnet_hidd"),
]


@pytest.mark.parametrize(("algo", "settings", "reason"), SAID)
def test_who_gives_it_is_told_why_it_changes_nothing(
    algo: str, settings: dict[str, Any], reason: str
) -> None:
    key = [*settings][-1]
    written = f"model.{next(iter(settings[key]))}" if key == "model" else key
    (notice,) = notices(config_class(algo)().training(**settings))
    assert notice.startswith(f"{written}: changes nothing here, {reason}")


@pytest.mark.parametrize("algo", names())
def test_defaults_are_nobodys_word_and_all_that_is_named_are_settings(algo: str) -> None:
    config = config_class(algo)()
    assert notices(config) == [] == notices(config.from_dict(config.to_dict()))
    for name in config.without_effect():
        config.is_given(name)  # raises where there is none


@pytest.mark.parametrize("algo", ["IMPALA", "A3C", "APEX"])
def test_an_iteration_of_an_asynchronous_run_lasts_as_long_as_it_is_told(algo: str) -> None:
    assert notices(config_class(algo)().reporting(min_time_s_per_iteration=3)) == []


def test_a_run_says_it_when_it_starts(tmp_path: Path) -> None:
    config = PG.config_class().environment("CartPole-v1").reporting(min_time_s_per_iteration=3)
    with config.rollouts(num_workers=0).build(results=tmp_path, name="run") as algo:
        assert [n for n in algo.notices if n.startswith("min_time_s_per_iteration: changes noth")]
