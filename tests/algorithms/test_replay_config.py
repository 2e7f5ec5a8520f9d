"""The settings of algorithms with replay that contradict each other, and schedules of theirs."""

from __future__ import annotations

import pytest

from actorrl.algorithms.dqn import DQNConfig
from actorrl.algorithms.registry import config_class


@pytest.mark.parametrize(
    ("algo", "setting"),
    [("DDPG", "actor_lr"), ("TD3", "critic_lr"), ("APEX_DDPG", "actor_lr"), ("SAC", "alpha_lr")],
)
def test_a_step_size_of_a_part_is_refused_beside_a_schedule_of_all(algo: str, setting: str) -> None:
    config = config_class(algo)().training(**{setting: 1e-4})
    assert config.validate() == []
    assert config.training(lr_schedule=[[0, 1e-3], [1000, 1e-4]]).validate() == [
        f"{setting}: 0.0001 together with lr_schedule, which says the step size of every part,"
        " expected null"
    ]
    assert config.training(**{setting: None}).validate() == []


def test_beta_goes_from_its_first_value_to_its_final_one() -> None:
    config = DQNConfig().training(prioritized_replay_beta=0.5)
    assert config.beta()(1e9) == 0.5
    config.training(final_prioritized_replay_beta=1.0)
    assert [config.beta()(steps) for steps in (0, 10_000, 20_000, 30_000)] == [0.5, 0.75, 1.0, 1.0]
    config.training(prioritized_replay_beta_annealing_timesteps=1000)
    assert config.beta()(500) == 0.75
