"""RLlib 2.6.3's defaults, under the names that its settings have here: what `actorrl config` sets
ours against. Those that neither it nor an algorithm of ours has otherwise are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from actorrl.algorithms.base import Algorithm

ALL: dict[str, Any] = {
    "num_workers": 0,
    "num_learners": 0,
    "num_envs_per_worker": 1,
    "rollout_fragment_length": 200,
    "train_batch_size": 32,
    "lr": 1e-3,
    "grad_clip": None,
    "min_time_s_per_iteration": None,
    "metrics_num_episodes_for_smoothing": 100,
    "evaluation_interval": None,
    "evaluation_explore": True,
    "model.fcnet_hiddens": [256, 256],
    "model.fcnet_activation": "tanh",
    "model.post_fcnet_hiddens": [],
    "model.post_fcnet_activation": "relu",
    "model.vf_share_layers": True,
    "model.max_seq_len": 20,
}
_A3C: dict[str, Any] = {
    "num_workers": 2,
    "rollout_fragment_length": 10,
    "lr": 1e-4,
    "lambda_": 1.0,
    "grad_clip": 40.0,
    "entropy_coeff": 0.01,
    "min_time_s_per_iteration": 5,
}
_IMPALA: dict[str, Any] = {
    "num_workers": 2,
    "num_gpus": 1,
    "rollout_fragment_length": 50,
    "train_batch_size": 500,
    "lr": 5e-4,
    "grad_clip": 40.0,
    "num_sgd_iter": 1,
    "entropy_coeff": 0.01,
    "epsilon": 0.1,
    "min_time_s_per_iteration": 10,
}
_DQN: dict[str, Any] = {
    "rollout_fragment_length": "auto",
    "lr": 5e-4,
    "grad_clip": 40.0,
    "adam_epsilon": 1e-8,
    "n_step": 1,
    "samples_per_insert": 32.0,
    "target_network_update_freq": "500 env steps",
    "tau": 1.0,
    "initial_stddev": 1.0,
    "evaluation_explore": False,
    "model.post_fcnet_hiddens": [256],
}
_APEX: dict[str, Any] = {
    "num_workers": 32,
    "num_gpus": 1,
    "num_replay_shards": 4,
    "replay_capacity": 2_000_000,
    "rollout_fragment_length": 50,
    "train_batch_size": 512,
    "n_step": 3,
    "samples_per_insert": 1.0,
    "learning_starts": 50_000,
    "target_network_update_freq": "500000 env steps",
    "min_time_s_per_iteration": 30,
}
_DDPG: dict[str, Any] = {
    "replay_capacity": 50_000,
    "rollout_fragment_length": "auto",
    "train_batch_size": 256,
    "samples_per_insert": 256.0,
    "learning_starts": 1500,
    "prioritized_replay": True,
    "random_steps": 1000,
    "exploration_noise": "ou",
    "noise_scale": 0.02,
    "tau": 0.002,
    "evaluation_explore": False,
    "model.fcnet_hiddens": [400, 300],
    "model.fcnet_activation": "relu",
}
OF_ALGORITHMS: dict[str, dict[str, Any]] = {
    "A3C": _A3C,
    "A2C": {**_A3C, "rollout_fragment_length": "auto", "min_time_s_per_iteration": 10},
    "APEX": {**_DQN, **_APEX},
    "APEX_DDPG": {**_DDPG, **_APEX, "num_gpus": 0},
    "APPO": {**_IMPALA, "num_gpus": 0, "clip_param": 0.4, "target_network_update_freq": 1},
    "ARS": {"num_workers": 2, "lr": 0.01, "noise_stddev": 0.02, "rollouts_used": 32},
    "BC": {"train_batch_size": 2000, "lr": 1e-4},
    "DDPG": _DDPG,
    "DQN": _DQN,
    "ES": {
        "num_workers": 10,
        "train_batch_size": 10_000,
        "lr": 0.01,
        "noise_stddev": 0.02,
        "action_noise": 0.01,
        "episodes_per_batch": 1000,
    },
    "IMPALA": _IMPALA,
    "PG": {"rollout_fragment_length": "auto", "train_batch_size": 200, "lr": 4e-4},
    "PPO": {
        "num_workers": 2,
        "rollout_fragment_length": "auto",
        "train_batch_size": 4000,
        "lr": 5e-5,
        "lambda_": 1.0,
        "num_sgd_iter": 30,
        "clip_param": 0.3,
        "vf_clip_param": 10.0,
        "kl_coeff": 0.2,
        "model.vf_share_layers": False,
    },
    "SAC": {
        "replay_capacity": 1_000_000,
        "rollout_fragment_length": "auto",
        "train_batch_size": 256,
        "n_step": 1,
        "samples_per_insert": 256.0,
        "learning_starts": 1500,
        "random_steps": 0,
        **dict.fromkeys(("actor_lr", "critic_lr", "alpha_lr"), 3e-4),
        "tau": 0.005,
        "initial_alpha": 1.0,
        "min_time_s_per_iteration": 1,
        "model.fcnet_activation": "relu",
        "model.post_fcnet_activation": None,
    },
    "TD3": {
        **_DDPG,
        "replay_capacity": 1_000_000,
        "train_batch_size": 100,
        "samples_per_insert": 100.0,
        "learning_starts": 10_000,
        "prioritized_replay": False,
        "random_steps": 10_000,
        "exploration_noise": "gaussian",
        "noise_scale": 0.1,
        "tau": 0.005,
    },
}


def of(algorithm: type[Algorithm]) -> dict[str, Any]:
    """Setting -> RLlib's default. One of the user's own has those of what it derives from, if that
    is one of RLlib's; else there is nothing to set it against."""
    names = [base.__name__ for base in algorithm.__mro__ if base.__name__ in OF_ALGORITHMS]
    return {**ALL, **OF_ALGORITHMS[names[0]]} if names else {}
