"""RLlib's ways to write a config, and what is said about the wrong ones."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from gymnasium.spaces import Box, Discrete

from actorrl.algorithms.a2c import A2CConfig
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.dqn import DQNConfig
from actorrl.algorithms.foreign_settings import FIXED
from actorrl.algorithms.impala import IMPALAConfig
from actorrl.algorithms.ppo import DEFAULT_CONFIG, PPO, PPOConfig
from actorrl.algorithms.registry import config_class, names
from actorrl.algorithms.td3 import TD3Config
from actorrl.errors import CheckpointError, ConfigError


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
    assert lines[0] == "lrr: unknown setting, did you mean 'lr'?"
    assert lines[1] == "sgd_minibatch_siz: unknown setting, did you mean 'sgd_minibatch_size'?"
    assert lines[2].startswith("clip_param: 'x' is not accepted, expected a number > 0")
    assert lines[3] == "use_gae: False is not accepted, expected True"
    assert lines_of(PPOConfig(), framework="tf2") == [
        "framework: 'tf2' is not accepted, expected 'torch'"
    ]


@pytest.mark.parametrize("name", names())
def test_a_config_survives_the_way_through_a_dict(name: str) -> None:
    config = config_class(name)().environment("CartPole-v1").training(lr=1e-3)
    settings = config.to_dict()
    settings["num_workers"] = 1
    assert config_class(name).from_dict(settings).to_dict() == settings


def test_what_has_no_plain_form_survives_the_way_through_a_dict_too() -> None:
    space, network = Box(-1, 1, (4,)), type("Mine", (), {})
    config = PPOConfig().environment("CartPole-v1", observation_space=space, env_config={"a": 1})
    config.multi_agent(policies={"x": (None, space, None, {"lr": 0.1})}, policy_mapping_fn=str)
    config.training(model={"custom_model": network}, custom_evaluation_function=print)
    settings = config.to_dict()
    again = PPOConfig.from_dict(settings)
    assert again == config and again.policies["x"][1] is space
    assert again.model.custom_model is network
    settings["env_config"]["a"] = settings["model"]["use_lstm"] = True
    assert config.env_config == {"a": 1} and not config.model.use_lstm, "it is a copy"
    assert not PPOConfig.from_dict(PPOConfig().to_dict()).is_given("train_batch_size")


def test_rllibs_dicts_within_the_config_are_settings_of_the_algorithms_own() -> None:
    config = config_class("DQN").from_dict(
        {
            "replay_buffer_config": {
                "type": "MultiAgentPrioritizedReplayBuffer",
                "capacity": 60_000,
                "prioritized_replay_alpha": 0.5,
                "storage_unit": "timesteps",
            },
            "exploration_config": {"type": "EpsilonGreedy", "epsilon_timesteps": 5000},
            "model": {"fcnet_hiddens": [32]},
        }
    )
    assert (config.replay_capacity, config.prioritized_replay_alpha) == (60_000, 0.5)
    assert config.prioritized_replay and config.epsilon_timesteps == 5000
    plain = {"type": "ReplayBuffer"}
    assert not config.training(replay_buffer_config=plain).prioritized_replay
    noise = {"type": "OrnsteinUhlenbeckNoise", "ou_sigma": 0.3, "random_timesteps": 7}
    ddpg = config_class("DDPG")().exploration(explore=True, exploration_config=noise)
    assert (ddpg.exploration_noise, ddpg.noise_scale, ddpg.random_steps) == ("ou", 0.3, 7)
    assert config.change({"exploration_config.final_epsilon": 0.1}) == []
    assert config.final_epsilon == 0.1
    soft = config.copy().exploration(exploration_config={"type": "SoftQ", "temperature": 0.5})
    assert (soft.exploration_type, soft.temperature) == ("soft_q", 0.5)
    noise = {"type": "ParameterNoise", "initial_stddev": 0.1, "sub_exploration": None}
    noisy = config.copy().training(exploration_config=noise, noisy=True)
    assert noisy.initial_stddev == 0.1 and noisy.validate() == [
        "exploration_type: parameter_noise together with noisy, whose layers explore already,"
        " expected epsilon_greedy"
    ]
    multi = {"multiagent": {"policies": ["a"], "policy_mapping_fn": None}}
    assert PPOConfig.from_dict(multi).policies == ["a"]


def test_what_rllib_says_in_two_settings_is_one_here() -> None:
    sac = {"optimization": {"actor_learning_rate": 3e-4}, "clip_actions": False, "noisy": False}
    nets = {"q_model_config": {"fcnet_hiddens": [9]}, "policy_model_config": {"fcnet_hiddens": [9]}}
    config = config_class("SAC").from_dict({**sac, **nets, "broadcast_interval": 5})
    assert (config.actor_lr, config.model.fcnet_hiddens) == (3e-4, [9])
    assert config.notices == ["broadcast_interval: changes nothing here"]
    dqn = {"hiddens": [256], "exploration_fraction": 0.1, "schedule_max_timesteps": 2000}
    config = config_class("DQN").from_dict(dqn)
    assert (config.model.post_fcnet_hiddens, config.epsilon_timesteps) == ([256], 200)
    noise = {"type": "OrnsteinUhlenbeckNoise", "ou_base_scale": 0.1, "ou_sigma": 0.5}
    assert config_class("DDPG").from_dict({"exploration_config": noise}).noise_scale == 0.05
    assert lines_of(config_class("TD3")(), actor_hiddens=[8], critic_hiddens=[9], l2_reg=1e-6) == [
        "critic_hiddens: [9] is not accepted, expected that of actor_hiddens",
        "l2_reg: 1e-06 is not accepted, expected 0.0",
    ]
    per_worker = {"exploration_config": {"epsilon_timesteps": 5}, "num_atoms": 1}
    assert config_class("APEX")().change(per_worker) == []


def test_rllibs_defaults_of_offline_data_and_of_what_is_not_here_are_accepted() -> None:
    offline = {"input_config": {}, "actions_in_input_normalized": False, "input_evaluation": []}
    offline |= {"output_config": {}, "output_compress_columns": ["obs"], "output_max_file_size": 9}
    other = {"env_task_fn": None, "worker_cls": None, "min_time_s_per_reporting": None}
    config = PPOConfig.from_dict({**offline, **other, "vf_share_layers": True})
    assert (config.min_time_s_per_iteration, config.model.vf_share_layers) == (0.0, True)
    assert lines_of(PPOConfig(), output_config={"format": "json"}, input_evaluation=["is"]) == [
        "output_config: {'format': 'json'} is not accepted, expected {}",
        "input_evaluation: ['is'] is not accepted, expected []",
    ]


def test_what_is_no_mapping_no_function_or_too_large_is_told_of() -> None:
    for wrong in (None, 3, "lr", [("lr", 1.0)]):
        with pytest.raises(ConfigError, match=r"^config: .* expected a mapping of settings"):
            PPOConfig().update_from_dict(wrong)
    with pytest.raises(ConfigError, match=r"^config: 'lr' is not accepted, expected a PPOConfig"):
        PPO("lr", env="CartPole-v1")
    assert lines_of(PPOConfig(), **{"seed": 2**63})[0].startswith("seed: 9223372036854775808 is no")
    with pytest.raises(ConfigError, match="1: unknown setting"):
        PPOConfig.from_dict({1: 2})
    for wrong in (3, "shared"):
        for settings in ({"policies": wrong}, {"multiagent": {"policies": wrong}}):
            config = PPOConfig.from_dict(settings)
            assert config.validate()[0].startswith(f"policies: {wrong!r} is not accepted, expected")
    assert lines_of(PPOConfig(), custom_eval_function=3) == [
        "custom_evaluation_function: 3 is not accepted, expected a function"
    ]
    config = PPOConfig.from_dict({"custom_eval_function": "json:dumps"})
    assert config.custom_evaluation_function is json.dumps
    with pytest.raises(ConfigError, match=r"model.custom_model: 3 is not accepted, expected a cl"):
        PPOConfig().training(model={"custom_model": 3}).environment("CartPole-v1").build()


def test_a_spelling_of_a_setting_that_an_algorithm_has_not_is_no_hint() -> None:
    (line,) = lines_of(config_class("BC")(), **{"lambda": 1.0})
    assert line == "lambda: unknown setting, `actorrl config ALGO` lists the accepted ones"


def test_what_such_a_dict_holds_that_cannot_be_is_refused_by_its_own_key() -> None:
    wrong = {
        "exploration_config": {"type": "Curiosity", "initial_epsilonn": 1.0, "warmup_timesteps": 9},
        "replay_buffer_config": {"type": "Fifo", "replay_sequence_length": 4, "capacity": "x"},
        "optimizer": 3,
    }
    assert [
        line.replace(": ", "|").split(", expected")[0]
        for line in lines_of(config_class("DQN")(), **wrong)
    ] == [
        "exploration_config.type|'Curiosity' is not how this algorithm explores",
        "exploration_config.warmup_timesteps|9 is not accepted",
        "replay_buffer_config.type|'Fifo' is no replay buffer",
        "replay_buffer_config.replay_sequence_length|4 is not accepted",
        "optimizer|3 is not accepted",
        "exploration_config.initial_epsilonn|unknown setting, did you mean 'initial_epsilon'?",
        "replay_buffer_config.capacity|'x' is not accepted",
    ]
    (line,) = lines_of(PPOConfig(), exploration_config={"type": "EpsilonGreedy"})
    assert line.endswith("expected 'StochasticSampling'")


def test_old_spellings_and_what_changes_nothing_are_noticed() -> None:
    config = PPOConfig().training(sgd_stepsize=0.01, num_rollout_workers=1, log_level="INFO")
    assert config.training(sgd_stepsize=0.02, gpu_fraction=0.0).copy().notices == [
        "sgd_stepsize: is called lr now",
        "log_level: changes nothing here",
        "gpu_fraction: is called num_gpus now",
    ]
    assert (config.lr, config.num_gpus) == (0.02, 0.0)


def test_what_has_another_meaning_than_in_rllib_is_told_where_it_is_set() -> None:
    config = DQNConfig().training(target_network_update_freq=500)
    assert config.validate() == []
    assert config.notices == [
        "target_network_update_freq: counts learner updates here, RLlib's env steps",
        "tau: 0.01 of the way, every 500 updates: the target network hardly moves; RLlib's tau, 1,"
        " copies it",
    ]
    assert len(DQNConfig.from_dict({"target_network_update_freq": 500, "tau": 1}).notices) == 1
    assert len(PPOConfig().training(vf_clip_param=10.0).notices) == 1
    assert PPOConfig.from_dict(PPOConfig().to_dict()).notices == []


def test_a_run_says_once_how_it_starts(tmp_path, capsys) -> None:
    config = PPOConfig().environment("CartPole-v0").rollouts(num_workers=0, num_envs_per_worker=4)
    with config.training(timesteps_per_batch=400).build(results=tmp_path, name="run") as algo:
        assert len(algo.notices) == 2
    assert capsys.readouterr().err.splitlines() == [
        "notice: 'CartPole-v0' runs as its successor 'CartPole-v1'",
        "notice: timesteps_per_batch: is called train_batch_size now",
        "PPO on CartPole-v1: 1 workers x 4 envs x 111 = 444 env steps per round, 1 rounds per train"
        " batch of 400",
    ]


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
    own = DEFAULT_CONFIG.copy()
    own["model"]["fcnet_hiddens"] = [8]
    assert own.model.get("fcnet_hiddens") == [8] and "use_lstm" in own["model"]
    assert DEFAULT_CONFIG["model"]["fcnet_hiddens"] == [64, 64]
    with pytest.raises(ConfigError, match="fcnet_hidens: unknown setting, did you mean 'fcnet_hi"):
        own["model"]["fcnet_hidens"] = [8]


def test_an_attribute_by_another_spelling_reaches_its_setting_and_what_is_none_is_refused() -> None:
    config = PPOConfig()
    config.num_rollout_workers = 3
    assert config.num_workers == config.num_env_runners == 3
    with pytest.raises(ConfigError, match="num_wrokers: unknown setting, did you mean 'num_work"):
        config.num_wrokers = 3
    with pytest.raises(ConfigError, match="fcnet_hidens: unknown setting, did you mean 'fcnet_hi"):
        config.model.fcnet_hidens = [8]
    with pytest.raises(ConfigError, match="gamma: 2 is not accepted"):
        config.gamma = 2
    with pytest.raises(ConfigError, match="use_lstm: 'perhaps' is not accepted"):
        config.model.use_lstm = "perhaps"


def test_a_setting_by_attribute_is_the_same_as_one_by_method() -> None:
    config, other = DQNConfig(), DQNConfig()
    config.target_network_update_freq, config.train_batch_size = "500", DQNConfig().train_batch_size
    config.model = {"fcnet_activation": "tanh"}
    other.training(target_network_update_freq=500, train_batch_size=DQNConfig().train_batch_size)
    other.training(model={"fcnet_activation": "tanh"})
    assert config == other and config.notices == other.notices != []
    assert config.is_given("train_batch_size")
    assert config.model.fcnet_hiddens == DQNConfig().model.fcnet_hiddens, "an algorithm's own"
    with pytest.raises(ConfigError, match=r"model\.fcnet_hidens: unknown setting"):
        config.model = {"fcnet_hidens": [8]}


def test_a_dict_of_all_settings_says_what_differs_from_the_defaults() -> None:
    settings = DQNConfig().to_dict()
    assert DQNConfig.from_dict(settings).notices == []
    config = DQNConfig.from_dict({**settings, "target_network_update_freq": 500})
    assert "counts learner updates" in config.notices[0]


def test_what_a_constructor_takes_is_checked_before_a_run(tmp_path: Path) -> None:
    config = DQNConfig(env="CartPole-v1", gamma=2, model={"fcnet_hidens": [8]})
    with pytest.raises(ConfigError) as caught:
        config.build(results=tmp_path)
    assert [line.partition(",")[0] for line in caught.value.messages] == [
        "gamma: 2 is not accepted",
        "model.fcnet_hidens: unknown setting",
    ]
    config = DQNConfig(num_workers=0, lr="1e-3", model={"fcnet_activation": "tanh"})
    config.env = "CartPole-v1"
    with config.build(results=tmp_path) as algo:
        assert (algo.config.lr, algo.config.is_given("n_step")) == (1e-3, False)
        wanted = DQNConfig().training(model={"fcnet_activation": "tanh"})
        assert algo.config.model == wanted.model


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
    for change in (
        lambda: config.training(model={"fcnet_hiddens": [8]}),
        lambda: config.training(**{"model.fcnet_hiddens": [8]}),
        lambda: setattr(config.model, "use_lstm", True),
    ):
        with pytest.raises(AttributeError, match="a run was built from this config"):
            change()
    assert config.model == PPOConfig().model
    other = PPOConfig().training(model=config.model)
    other.model.use_lstm = True
    assert not config.model.use_lstm


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
    stream = IMPALAConfig().training(train_batch_size=40, num_workers=8, num_envs_per_worker=8)
    assert stream.validate()[0].startswith("train_batch_size: 40 is less than the 256 env steps")
    (line,) = PPOConfig().training(train_batch_size=40, num_workers=8).validate()
    assert "128 env steps that come at once (1 envs x 16 rows x 8 workers)" in line


def test_where_nobody_says_how_many_environments_there_are_as_many_as_fit(tmp_path) -> None:
    """RLlib's scripts mean one per worker, and say rows and batch for that."""
    config = PPOConfig().environment("CartPole-v1").rollouts(num_workers=0)
    config.training(train_batch_size=200, rollout_fragment_length=100, num_sgd_iter=1)
    with config.build(results=tmp_path, name="run") as algo:
        assert algo.train()["timesteps_total"] >= 195
        assert algo.config.num_envs_per_worker == 2 != config.num_envs_per_worker
        assert any(notice.startswith("num_envs_per_worker: 2 instead") for notice in algo.notices)
        path = algo.save()
    with PPO.from_checkpoint(path, results=tmp_path, name="again") as algo:
        assert algo.config.num_envs_per_worker == 2
    assert PPOConfig().training(train_batch_size=4000).num_envs() == 8
    rows = {"train_batch_size": 200, "rollout_fragment_length": 100}
    (line,) = PPOConfig().training(num_envs_per_worker=8, **rows).validate()
    assert line.startswith("train_batch_size: 200 is less than the 800 env steps")


def test_a_run_has_a_frozen_config_of_its_own(tmp_path) -> None:
    config = PPOConfig().environment("CartPole-v1").rollouts(num_workers=0)
    with PPO(config, results=tmp_path, name="run") as algo:
        config.training(lr=0.1)
        assert algo.config.lr == PPOConfig().lr
        with pytest.raises(AttributeError, match="a run was built from this config"):
            algo.config.lr = 0.1


def test_what_evaluation_does_anyway_is_accepted_and_the_rest_refused() -> None:
    config = PPOConfig().evaluation(
        evaluation_duration_unit="episodes", evaluation_config={"explore": False}
    )
    assert lines_of(config, evaluation_config={"gamma": 0.5}, evaluation_duration_unit="x") == [
        "evaluation_config.gamma: 0.5 is not accepted, evaluation has the run's own settings",
        "evaluation_duration_unit: 'x' is not accepted, expected 'episodes' or 'timesteps'",
    ]


def test_rllibs_scripts_may_say_which_inner_structure_and_read_settings_by_other_names() -> None:
    config = PPOConfig().api_stack(
        enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=False
    )
    config.rl_module(_enable_rl_module_api=False).env_runners(num_env_runners=3)
    assert config.num_rollout_workers == config.num_workers == 3
    with pytest.raises(AttributeError, match="PPOConfig has no setting 'num_wrokers'"):
        _ = config.num_wrokers
    assert PPOConfig.overrides(gamma=0.8) == {"gamma": 0.8}
    given = PPOConfig.overrides(explore=True, env_config={"a": 1}, input_="sampler")
    assert config.evaluation(evaluation_config=given).evaluation_env_config == {"a": 1}


def test_what_rllib_says_by_default_may_be_said_and_the_rest_is_refused_by_its_name() -> None:
    """A run's settings as RLlib 2 prints them are good, as far as actorrl does that."""
    config = PPOConfig().fault_tolerance(recreate_failed_workers=True, max_num_worker_restarts=9)
    config.multi_agent(count_steps_by="env_steps", observation_fn=None, policy_map_capacity=3)
    config.offline_data(input_="sampler", off_policy_estimation_methods={})
    config.training(model={"attention_dim": 64, "fcnet_weights_initializer": None})
    assert config.training(use_kl_loss=True).kl_coeff == 0.2
    assert config.training(use_kl_loss=True, kl_coeff=0.3).kl_coeff == 0.3
    assert config.training(use_kl_loss=False).kl_coeff == 0.0
    assert lines_of(config, count_steps_by="agent_steps", input_="files") == [
        "count_steps_by: 'agent_steps' is not accepted, expected 'env_steps'",
        "input_: 'files' is not accepted, expected 'sampler'",
    ]
    dqn = DQNConfig().training(training_intensity=None, td_error_loss_fn="huber", tau=0.5)
    assert dqn.training(adam_epsilon=1.5e-4).adam_epsilon == 1.5e-4
    assert (dqn.samples_per_insert, dqn.tau) == (DQNConfig().samples_per_insert, 0.5)
    td3 = {"actor_hidden_activation": "relu", "critic_hidden_activation": "relu"}
    assert TD3Config().training(**td3).model.fcnet_activation == "relu"


@pytest.mark.parametrize("name", names())
def test_nothing_is_refused_with_the_advice_to_say_just_that(name: str) -> None:
    config = config_class(name)()
    for key, accepted in FIXED.items():
        for value in accepted if key not in config else ():
            assert config.change({key: value}) == []


def test_spaces_that_are_given_must_be_those_of_the_environment() -> None:
    config = PPOConfig().environment("CartPole-v1", action_space=Discrete(2))
    assert config.environment(observation_space=Box(-1, 1, (4,))).program()
    wrong = config.copy().environment(action_space=Discrete(3))
    with pytest.raises(ConfigError, match=r"action_space: Discrete\(3\) was given, and 'CartPole"):
        wrong.program()


class MyPPO(PPO):
    """An algorithm of the user's."""


def test_a_config_by_its_algorithm_is_that_algorithms_own() -> None:
    config = AlgorithmConfig(PPO).training(lr=2e-3, clip_param=0.1)
    assert isinstance(config, PPOConfig) and config.algorithm is PPO
    own = AlgorithmConfig(algo_class=MyPPO).copy()
    assert isinstance(own, PPOConfig) and own.algorithm is MyPPO
    assert PPOConfig(MyPPO).algorithm is MyPPO and PPOConfig().algorithm is PPO
    for wrong in (lambda: AlgorithmConfig(int), lambda: config_class("DQN")(PPO)):
        with pytest.raises(
            ConfigError, match=r"algo_class: .* expected an algorithm whose settings"
        ):
            wrong()


def test_an_algorithm_of_the_users_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    class Local(PPO):
        """Without an import path."""

    for algorithm in (MyPPO, Local):
        config = AlgorithmConfig(algorithm).environment("CartPole-v1").rollouts(num_workers=0)
        config.training(train_batch_size=64, model={"fcnet_hiddens": [8]})
        with config.build(results=tmp_path, name=algorithm.__name__) as algo:
            assert type(algo) is algorithm
            algo.train()
            path = algo.save()
        with algorithm.from_checkpoint(path, results=tmp_path, name=f"{algo.name}2") as again:
            assert type(again) is algorithm and again.train()["training_iteration"] == 2
    with pytest.raises(CheckpointError, match="Local' cannot be imported"):
        PPO.from_checkpoint(path)
