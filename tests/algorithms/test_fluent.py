"""RLlib's ways to write a config, and what is said about the wrong ones."""

from __future__ import annotations

import copy
import pickle

import pytest

from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.impala import IMPALAConfig
from actorrl.algorithms.ppo import PPO, PPOConfig
from actorrl.algorithms.registry import config_class, names
from actorrl.errors import ConfigError


def lines_of(config: PPOConfig, **settings: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.training(**settings)
    return caught.value.messages


def test_the_methods_of_rllib_chain_and_every_spelling_reaches_its_setting() -> None:
    config = (
        PPOConfig()
        .environment("CartPole-v1", env_config={"a": 1})
        .framework("torch", eager_tracing=True)
        .rollouts(num_rollout_workers=3, num_envs_per_worker=4, rollout_fragment_length=50)
        .training(sgd_minibatch_size=64, **{"lambda": 0.9})
        .resources(num_gpus=0, num_cpus_per_worker=1)
        .evaluation(evaluation_interval=5, evaluation_num_episodes=3)
        .exploration(explore=True)
        .offline_data(output=None)
        .reporting(min_time_s_per_reporting=2.0, metrics_smoothing_episodes=50)
        .checkpointing()
        .fault_tolerance(restart_failed_sub_environments=True)
        .debugging(seed=5, log_level="WARN")
        .multi_agent()
    )
    assert (config.num_workers, config.lambda_, config.evaluation_duration) == (3, 0.9, 3)
    assert (config.seed, config.metrics_num_episodes_for_smoothing) == (5, 50)
    assert config.recreate_failed_envs and config["sample_batch_size"] == 50
    assert PPOConfig().env_runners(num_env_runners=2).num_workers == 2


def test_all_mistakes_come_at_once_with_the_nearest_name() -> None:
    lines = lines_of(PPOConfig(), lrr=1, sgd_minibatch_siz=3, clip_param="x", use_gae=False)
    assert lines[0] == "use_gae: False is not accepted, expected True"
    assert lines[1] == "lrr: unknown setting, did you mean 'lr'?"
    assert lines[2] == "sgd_minibatch_siz: unknown setting, did you mean 'sgd_minibatch_size'?"
    assert lines[3].startswith("clip_param: 'x' is not accepted, expected a number > 0")
    assert lines_of(PPOConfig(), framework="tf2") == [
        "framework: 'tf2' is not accepted, expected 'torch'"
    ]


@pytest.mark.parametrize("name", names())
def test_a_config_survives_the_way_through_a_dict(name: str) -> None:
    config = config_class(name)().environment("CartPole-v1").training(lr=1e-3)
    settings = config.to_dict()
    settings["num_workers"] = 1
    assert config_class(name).from_dict(settings).to_dict() == settings


def test_brackets_work_as_on_rllibs_dicts() -> None:
    config = PPOConfig()
    config["sgd_stepsize"] = 0.01
    assert config.lr == config["lr"] == config.get("lr") == 0.01
    assert "timesteps_per_batch" in config and "nonsense" not in config
    assert config.get("nonsense", 7) == 7
    with pytest.raises(KeyError):
        config["nonsense"]
    with pytest.raises(ConfigError, match="lr: 'x' is not accepted"):
        config["lr"] = "x"


def test_a_frozen_config_refuses_changes_and_its_copy_does_not() -> None:
    config = PPOConfig().training(lr=1e-3)
    config.freeze()
    with pytest.raises(AttributeError, match="lr: a run was built from this config"):
        config.lr = 1.0
    other = config.copy()
    other.training(lr=1e-2, model={"fcnet_hiddens": [8]})
    assert (config.lr, other.lr) == (1e-3, 1e-2)
    assert config.model.fcnet_hiddens == [64, 64]
    assert not copy.deepcopy(config).is_frozen and not pickle.loads(pickle.dumps(config)).is_frozen
    assert config.copy(copy_frozen=True).is_frozen


def test_the_arithmetic_of_rounds_and_of_fragments_in_words() -> None:
    config = A2CConfig().rollouts(num_workers=8, num_envs_per_worker=4, rollout_fragment_length=50)
    config.training(train_batch_size=4000)
    assert config.arithmetic() == (
        "8 workers x 4 envs x 50 = 1600 env steps per round, 3 rounds per train batch of 4000"
    )
    stream = IMPALAConfig().rollouts(num_workers=8, num_envs_per_worker=4)
    stream.training(rollout_fragment_length=50, train_batch_size=500)
    assert stream.arithmetic() == (
        "each of 8 workers sends 4 envs x 50 = 200 env steps at a time,"
        " 3 of these per train batch of 500"
    )


def test_a_train_batch_smaller_than_what_comes_at_once_is_refused_with_the_numbers() -> None:
    config = A2CConfig().rollouts(num_workers=8, num_envs_per_worker=4, rollout_fragment_length=50)
    assert config.validate() == [], "the default adapts to any number of workers"
    (line,) = config.training(train_batch_size=500).validate()
    assert line.startswith(
        "train_batch_size: 500 is less than the 1600 env steps that come at once"
    )
    stream = IMPALAConfig().training(train_batch_size=40, num_workers=8)
    assert stream.validate()[0].startswith("train_batch_size: 40 is less than the 256 env steps")
    assert PPOConfig().training(train_batch_size=40, num_workers=8).validate() == []


def test_a_run_has_a_frozen_config_of_its_own(tmp_path) -> None:
    config = PPOConfig().environment("CartPole-v1").rollouts(num_workers=0)
    with PPO(config, results=tmp_path, name="run") as algo:
        config.training(lr=0.1)
        assert algo.config.lr == PPOConfig().lr
        with pytest.raises(AttributeError, match="a run was built from this config"):
            algo.config.lr = 0.1
