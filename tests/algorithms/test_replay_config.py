"""The settings of algorithms with replay that contradict each other, and schedules of theirs."""

from __future__ import annotations

from pathlib import Path

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


def test_a_row_tells_the_beta_and_the_epsilon_of_now(tmp_path: Path) -> None:
    config = DQNConfig().environment("CartPole-v1").rollouts(num_workers=0)
    config.training(samples_per_insert=0.5, learning_starts=64, model={"fcnet_hiddens": [4]})
    config.training(epsilon_timesteps=2000, final_epsilon=0.0)
    config.training(
        prioritized_replay_beta=0.0,
        final_prioritized_replay_beta=1.0,
        prioritized_replay_beta_annealing_timesteps=2000,
    )
    with config.build(results=tmp_path, name="run", announce=False) as algo:
        row = algo.train()
    learner, share = row["info"]["learner"], row["timesteps_total"] / 2000
    assert learner["cur_beta"] == pytest.approx(share) and 0.5 <= share < 0.6
    assert learner["cur_epsilon"] == pytest.approx(1.0 - share / 2, abs=0.05), "as cur_lr a mean"
