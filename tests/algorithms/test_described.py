from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from actorrl.algorithms import described
from actorrl.algorithms.ppo import PPOConfig
from actorrl.envs.check import check_env
from actorrl.experiment.run_folder import RunFolder


@pytest.mark.parametrize(
    ("frame_stack", "clip_rewards", "said"),
    [(4, None, True), (1, None, False), (4, True, False), (4, False, False)],
)
def test_a_run_says_that_it_learns_clipped_rewards_where_nobody_has_asked_for_it(
    frame_stack: int, clip_rewards: bool | None, said: bool
) -> None:
    info = dataclasses.replace(check_env("CartPole-v1", {}), frame_stack=frame_stack)
    notices = described.notices(PPOConfig().training(clip_rewards=clip_rewards), info)
    assert any(notice.startswith("clip_rewards: ") for notice in notices) is said


def test_what_was_left_to_the_machine_is_a_number_in_the_runs_folder(tmp_path: Path) -> None:
    config = PPOConfig().environment("CartPole-v1")
    with config.build(results=tmp_path, start=False) as algo:
        params = RunFolder.open(algo.run_folder).read_params()
        assert params["config"]["num_workers"] == config.resolved_num_workers()
        assert algo.config.num_workers is None, "a checkpoint is for any machine"
