"""How many env steps an update is of: what was set, on any number of cores."""

from __future__ import annotations

from typing import Any

import pytest

from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.impala import IMPALAConfig
from actorrl.algorithms.pg import PGConfig
from actorrl.algorithms.ppo import PPOConfig
from actorrl.algorithms.registry import config_class, names
from actorrl.runtime.host_specs import ClusterSpec, HostSpec, ResourceSpec


def on_cores(config: AlgorithmConfig, cores: int, **settings: Any) -> Any:
    host = HostSpec(name="local", resources=ResourceSpec(cpu=cores))
    return config.cluster(hosts=ClusterSpec(hosts=(host,))).training(**settings)


def per_round(config: AlgorithmConfig) -> tuple[int, int]:
    """Workers, and the env steps that come of all of them."""
    return config.resolved_num_workers(), config.num_envs_total() * config.fragment_length()


@pytest.mark.parametrize("algo", [name for name in names() if name != "BC"])
@pytest.mark.parametrize("cores", [1, 2, 64, 512])
def test_the_defaults_are_good_on_any_number_of_cores(algo: str, cores: int) -> None:
    assert on_cores(config_class(algo)(), cores).validate() == []


def test_a_round_is_as_large_on_many_cores_as_on_two() -> None:
    for cores in (2, 64):
        assert per_round(on_cores(A2CConfig(), cores)) == (1, 256)
    assert per_round(on_cores(PPOConfig(), 2)) == (1, 1128)
    assert per_round(on_cores(PPOConfig(), 64)) == (8, 1152)
    assert per_round(on_cores(PPOConfig(), 64, train_batch_size=200)) == (1, 224)
    assert per_round(on_cores(PGConfig(), 64)) == (7, 1120)
    assert per_round(on_cores(A2CConfig(), 64, train_batch_size=4000)) == (15, 3840)


def test_cores_that_are_not_used_are_told() -> None:
    assert (
        on_cores(PPOConfig(), 64)
        .arithmetic()
        .endswith("; there are cores for 63 workers, expected more rows or num_workers to use them")
    )
    for config in (
        on_cores(PPOConfig(), 2),
        on_cores(PPOConfig(), 64, num_workers=3),
        on_cores(IMPALAConfig(), 64),
    ):
        assert "cores" not in config.arithmetic()


def test_workers_that_were_asked_for_are_had_and_a_batch_too_small_for_them_is_refused() -> None:
    many = on_cores(A2CConfig(), 64, num_workers=63)
    assert many.validate() == [] and per_round(many) == (63, 63 * 8 * 32)
    (line,) = on_cores(PPOConfig(), 64, num_workers=63, train_batch_size=200).validate()
    assert line.startswith(
        "train_batch_size: 200 is less than the 1008 env steps that come at once"
        " (1 envs x 16 rows x 63 workers), expected"
    )


def test_a_default_that_is_said_is_meant() -> None:
    said = A2CConfig().training(train_batch_size=100, num_workers=1)
    assert (A2CConfig().num_envs(), said.num_envs()) == (8, 3)
    (line,) = said.training(num_envs_per_worker=8).validate()
    assert "(8 envs x 32 rows)" in line


def test_rows_of_a_round_do_not_count_where_episodes_do() -> None:
    config = config_class("ES")().training(train_batch_size=1)
    assert config.validate() == [] and config.num_envs() == 16
    assert config.training(num_workers=3).arithmetic() == "3 workers play 32 pairs per update"


def test_where_rounds_fill_a_batch_just_so_the_one_more_for_ends_of_episodes_is_told() -> None:
    """Else a batch of 1,024 env steps is one of 2,040, and nobody is told."""

    def told(**settings: Any) -> str:
        config = on_cores(PPOConfig(), 2, num_workers=2, num_envs_per_worker=8, **settings)
        return config.arithmetic()

    just_so = told(rollout_fragment_length=64, train_batch_size=1024)
    assert "1 rounds per train batch of 1024, one more as soon as episodes end" in just_so
    assert "one more" in told(rollout_fragment_length=64, train_batch_size=2000)
    for settings in (
        {"rollout_fragment_length": "auto"},
        {"rollout_fragment_length": 64, "train_batch_size": 900},
        {"rollout_fragment_length": 64, "train_batch_size": 1024, "autoreset": "same_step"},
        {
            "rollout_fragment_length": 64,
            "train_batch_size": 1024,
            "batch_mode": "complete_episodes",
        },
    ):
        assert "one more" not in told(**settings)
    assert "one more" not in on_cores(PGConfig(), 2, train_batch_size=512).arithmetic()
