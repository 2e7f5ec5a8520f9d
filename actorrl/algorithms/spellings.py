"""RLlib's dicts within the config, and its older spellings, as settings of ours.

What such a dict holds is a setting of the algorithm's own here; what says how actorrl does it
anyway is accepted; everything else is refused by the key that the user wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple


class Given(NamedTuple):
    """A setting as it was written, and what is meant."""

    written: str  # "exploration_config.stddev"
    key: str  # "noise_scale"
    value: Any


# Other spellings of the settings that all algorithms share.
ALIASES = {
    "num_rollout_workers": "num_workers",
    "num_env_runners": "num_workers",
    "num_envs_per_env_runner": "num_envs_per_worker",
    "sample_batch_size": "rollout_fragment_length",
    "restart_failed_sub_environments": "recreate_failed_envs",
    "train_batch_size_per_learner": "train_batch_size",
    "timesteps_per_batch": "train_batch_size",
    "min_iter_time_s": "min_time_s_per_iteration",
    "evaluation_num_episodes": "evaluation_duration",
    "evaluation_num_env_runners": "evaluation_num_workers",
    "max_grad_norm": "grad_clip",
    "sgd_stepsize": "lr",
    "stepsize": "lr",
    "learning_rate": "lr",
    "num_learner_workers": "num_learners",
    "num_gpus_per_learner": "num_gpus",
    "num_gpus_per_learner_worker": "num_gpus",
    "num_cpus_per_env_runner": "num_cpus_per_worker",
    "num_gpus_per_env_runner": "num_gpus_per_worker",
    "min_time_s_per_reporting": "min_time_s_per_iteration",
    "metrics_smoothing_episodes": "metrics_num_episodes_for_smoothing",
    "lambda": "lambda_",
    "callbacks": "callbacks_class",
    "custom_eval_function": "custom_evaluation_function",
    "gpu": "num_gpus",
    "gpu_fraction": "num_gpus",
    "monitor": "record_video",
    "record_env": "record_video",
}
# Settings that mean something else than in RLlib.
MEANT = {
    "train_batch_size_per_learner": "is train_batch_size here, the rows of all learners together",
    "target_network_update_freq": "counts learner updates here, RLlib's env steps",
    "vf_clip_param": "is how far a value may move here, RLlib's limits the squared error",
}
# Spellings that RLlib has given up itself: a notice says what they are called now.
OLD = frozenset(
    [
        "timesteps_per_batch", "sample_batch_size", "sgd_stepsize", "stepsize", "sgd_batchsize",
        "kl_coefficient", "buffer_size", "min_iter_time_s", "gpu", "gpu_fraction", "monitor",
        "record_env",
    ]
)  # fmt: skip

_SAME: dict[str, str] = {}
# Of two networks, which have one shape here: both -> the setting.
_BOTH = {
    ("actor_hiddens", "critic_hiddens"): "model.fcnet_hiddens",
    ("policy_model_config", "q_model_config"): "model",
    ("actor_hidden_activation", "critic_hidden_activation"): "model.fcnet_activation",
}
_KL_COEFF = 0.2  # RLlib's
_REPLAY = {"capacity": "replay_capacity", "num_shards": "num_replay_shards"}
_NOISE = {"stddev": "noise_scale", "ou_sigma": "noise_scale", "random_timesteps": "random_steps"}
# Nested dict -> its keys that are called otherwise here.
_DICTS = {
    "exploration_config": _NOISE,
    "replay_buffer_config": _REPLAY,
    "optimizer": _SAME,
    "optimization": _SAME,
    "multiagent": _SAME,
    "evaluation_config": {"explore": "evaluation_explore", "env_config": "evaluation_env_config"},
}
# Entries that actorrl has nothing to do with, or one value that is how it does it.
_ANY = object()
_AS_IT_IS: dict[str, dict[str, Any]] = {
    "exploration_config": {
        "initial_scale": 1.0,
        "final_scale": 1.0,
        "scale_timesteps": _ANY,
        "ou_theta": 0.15,
        "warmup_timesteps": 0,
        "framework": _ANY,
        "sub_exploration": None,
    },
    "replay_buffer_config": {
        "storage_unit": "timesteps",
        "replay_sequence_length": 1,
        "replay_burn_in": 0,
        "replay_mode": "independent",
        "replay_zero_init_states": _ANY,
        "worker_side_prioritization": _ANY,
        "no_local_replay_buffer": _ANY,
        "_enable_replay_buffer_api": _ANY,
    },
    "evaluation_config": {
        "render_env": False,
        "input": "sampler",
        "input_": "sampler",
        "in_evaluation": _ANY,
        "num_envs_per_worker": _ANY,
        "rollout_fragment_length": _ANY,
    },
    "optimizer": {
        "max_weight_sync_delay": _ANY,
        "debug": _ANY,
        "clip_rewards": _ANY,
        "batch_replay": _ANY,
    },
    "multiagent": {
        "observation_fn": None,
        "replay_mode": "independent",
        "policy_map_capacity": _ANY,
        "policy_map_cache": _ANY,
    },
}


def flattened(
    settings: Mapping[str, Any], fields: Collection[str]
) -> tuple[list[Given], list[str]]:
    """The settings without RLlib's nested dicts, and a line for each entry that cannot be.
    `fields`: the settings that the algorithm has."""
    settings, found, lines = _joined(dict(settings), fields)
    for key, value in settings.items():
        head, _, rest = key.partition(".")
        if rest and head in _DICTS:  # --set exploration_config.stddev=.3
            inner, wrong = flattened({head: {rest: value}}, fields)
            found, lines = found + inner, lines + wrong
        elif key not in _DICTS or key in fields:
            is_gpu = key == "gpu" and isinstance(value, bool)
            found.append(Given(key, key, float(value) if is_gpu else value))
        elif value is not None and not isinstance(value, Mapping):
            lines.append(f"{key}: {value!r} is not accepted, expected a mapping of settings")
        else:
            for given in _inside(key, dict(value or {}), fields):
                found += [given] if isinstance(given, Given) else []
                lines += [given] if isinstance(given, str) else []
    return found, lines


def _joined(
    settings: dict[str, Any], fields: Collection[str]
) -> tuple[dict[str, Any], list[Given], list[str]]:
    """What RLlib says in two settings and actorrl in one; the rest is left in the first dict."""
    found: list[Given] = []
    lines: list[str] = []
    for (one, other), key in _BOTH.items():
        given = [name for name in (one, other) if name in settings]
        values = [settings.pop(name) for name in given]
        if len(values) == 2 and values[0] != values[1]:
            lines.append(f"{other}: {values[1]!r} is not accepted, expected that of {one}")
        elif given:
            found.append(Given(given[0], key, values[0]))
    fraction = settings.pop("exploration_fraction", None)
    if fraction is not None:
        steps = int(fraction * settings.pop("schedule_max_timesteps", 100_000))
        found.append(Given("exploration_fraction", "epsilon_timesteps", steps))
    if "use_kl_loss" in settings and "kl_coeff" in fields:
        uses = settings.pop("use_kl_loss")
        if not uses or "kl_coeff" not in settings:  # else that is how much
            found.append(Given("use_kl_loss", "kl_coeff", _KL_COEFF if uses else 0.0))
    if settings.get("training_intensity", 0) is None:  # RLlib's default: as it comes
        del settings["training_intensity"]
    for name in ("min_time_s_per_iteration", "min_time_s_per_reporting", "min_iter_time_s"):
        if settings.get(name, 0) is None:  # RLlib's word for none
            settings[name] = 0.0
    if "vf_share_layers" in settings and "vf_loss_coeff" in fields:
        shared = settings.pop("vf_share_layers")
        found.append(Given("vf_share_layers", "model.vf_share_layers", shared))
    if "hiddens" in settings and "dueling" in fields:
        found.append(Given("hiddens", "model.post_fcnet_hiddens", settings.pop("hiddens")))
    return settings, found, lines


def _inside(name: str, entries: dict[str, Any], fields: Collection[str]) -> Iterator[Given | str]:
    kind = entries.pop("type", None)
    if kind is not None:
        kind = str(getattr(kind, "__name__", kind)).rpartition(".")[2]
        of_type = {"exploration_config": _explorer, "replay_buffer_config": _buffer}.get(name)
        if of_type is not None:
            yield from of_type(f"{name}.type", kind, fields)
    if "ou_base_scale" in entries:
        entries["ou_sigma"] = entries.pop("ou_base_scale") * entries.get("ou_sigma", 0.2)
    for key, value in entries.items():
        written, fixed = f"{name}.{key}", _AS_IT_IS.get(name, {})
        if key in _FALLS and "epsilon_base" in fields:
            continue  # each environment keeps its own, also in RLlib
        if key not in (*fixed, *_DICTS[name]) and name == "evaluation_config":
            yield f"{written}: {value!r} is not accepted, evaluation has the run's own settings"
        elif key not in fixed:
            yield Given(written, _DICTS[name].get(key, key), value)
        elif fixed[key] is not _ANY and value not in (fixed[key], None):
            yield f"{written}: {value!r} is not accepted, expected {fixed[key]!r}"


def _explorer(written: str, kind: str, fields: Collection[str]) -> Iterator[Given | str]:
    """Each algorithm explores in ways of its own; RLlib's class names one."""
    ways = list(explorers(fields))
    if kind not in ways:
        names = " or ".join(map(repr, ways))
        yield f"{written}: {kind!r} is not how this algorithm explores, expected {names}"
    elif "exploration_noise" in fields:
        yield Given(written, "exploration_noise", "ou" if kind.startswith(_OU) else "gaussian")
    elif kind in _OF_VALUES and "exploration_type" in fields:
        yield Given(written, "exploration_type", _OF_VALUES[kind])


# RLlib's explorers of action values -> `exploration_type`.
_OF_VALUES = {
    "EpsilonGreedy": "epsilon_greedy",
    "SoftQ": "soft_q",
    "ParameterNoise": "parameter_noise",
}
_FALLS = ("initial_epsilon", "final_epsilon", "epsilon_timesteps")
_OU = ("OrnsteinUhlenbeck", "PerWorkerOrnsteinUhlenbeck")


def explorers(fields: Collection[str]) -> Iterator[str]:
    """RLlib's names of the ways in which an algorithm with these settings explores."""
    prefix = "PerWorker" if {"epsilon_base", "noise_exponent"} & set(fields) else ""
    if {"epsilon_base", "initial_epsilon"} & set(fields):
        yield f"{prefix}EpsilonGreedy"
        if "exploration_type" in fields:
            yield from ("SoftQ", "ParameterNoise")
    elif "exploration_noise" in fields:
        yield from (f"{prefix}GaussianNoise", f"{prefix}OrnsteinUhlenbeckNoise")
    else:
        yield "StochasticSampling"


def _buffer(written: str, kind: str, fields: Collection[str]) -> Iterator[Given | str]:
    if not kind.endswith("ReplayBuffer"):
        yield f"{written}: {kind!r} is no replay buffer, expected 'PrioritizedReplayBuffer', say"
    else:
        yield Given(written, "prioritized_replay", "Prioritized" in kind)
