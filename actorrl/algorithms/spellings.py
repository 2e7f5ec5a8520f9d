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
# Spellings that RLlib has given up itself: a notice says what they are called now.
OLD = frozenset(
    [
        "timesteps_per_batch", "sample_batch_size", "sgd_stepsize", "stepsize", "sgd_batchsize",
        "kl_coefficient", "buffer_size", "min_iter_time_s", "gpu", "gpu_fraction", "monitor",
        "record_env",
    ]
)  # fmt: skip

_SAME: dict[str, str] = {}
_REPLAY = {"capacity": "replay_capacity", "num_shards": "num_replay_shards"}
_NOISE = {"stddev": "noise_scale", "ou_sigma": "noise_scale", "random_timesteps": "random_steps"}
# Nested dict -> its keys that are called otherwise here.
_DICTS = {
    "exploration_config": _NOISE,
    "replay_buffer_config": _REPLAY,
    "optimizer": _SAME,
    "multiagent": _SAME,
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
    },
}


def flattened(
    settings: Mapping[str, Any], fields: Collection[str]
) -> tuple[list[Given], list[str]]:
    """The settings without RLlib's nested dicts, and a line for each entry that cannot be.
    `fields`: the settings that the algorithm has."""
    found: list[Given] = []
    lines: list[str] = []
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


def _inside(name: str, entries: dict[str, Any], fields: Collection[str]) -> Iterator[Given | str]:
    kind = entries.pop("type", None)
    if kind is not None:
        kind = str(getattr(kind, "__name__", kind)).rpartition(".")[2]
        of_type = {"exploration_config": _explorer, "replay_buffer_config": _buffer}.get(name)
        if of_type is not None:
            yield from of_type(f"{name}.type", kind, fields)
    for key, value in entries.items():
        written, fixed = f"{name}.{key}", _AS_IT_IS[name]
        if key not in fixed:
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


_OU = ("OrnsteinUhlenbeck", "PerWorkerOrnsteinUhlenbeck")


def explorers(fields: Collection[str]) -> Iterator[str]:
    """RLlib's names of the ways in which an algorithm with these settings explores."""
    prefix = "PerWorker" if {"epsilon_base", "noise_exponent"} & set(fields) else ""
    if {"epsilon_base", "initial_epsilon"} & set(fields):
        yield f"{prefix}EpsilonGreedy"
    elif "exploration_noise" in fields:
        yield from (f"{prefix}GaussianNoise", f"{prefix}OrnsteinUhlenbeckNoise")
    else:
        yield "StochasticSampling"


def _buffer(written: str, kind: str, fields: Collection[str]) -> Iterator[Given | str]:
    if not kind.endswith("ReplayBuffer"):
        yield f"{written}: {kind!r} is no replay buffer, expected 'PrioritizedReplayBuffer', say"
    else:
        yield Given(written, "prioritized_replay", "Prioritized" in kind)
