"""The names in a result row: what users and scripts rely on, with what each one means."""

from __future__ import annotations

RESULT_KEYS: dict[str, str] = {
    "training_iteration": "calls of train() so far",
    "timesteps_total": "valid env steps of all agents' environments so far",
    "episodes_total": "finished episodes so far",
    "episode_reward_mean": "mean unclipped return of the last 100 finished episodes",
    "episode_reward_min": "smallest return of the last 100 finished episodes",
    "episode_reward_max": "largest return of the last 100 finished episodes",
    "episode_len_mean": "mean length of the last 100 finished episodes, in env steps",
    "time_this_iter_s": "wall seconds of this iteration",
    "time_total_s": "wall seconds of all iterations, those before a resume included",
    "env_steps_per_s": "valid env steps per wall second, in this iteration",
    "updates_per_s": "learner updates per wall second, in this iteration",
    "num_updates": "learner updates so far",
    "samples_per_insert": "times that a stored row was sampled, on average",
    "policy_lag_mean": "updates between the weights that acted and the weights that learned, mean",
    "policy_lag_max": "the same, largest",
    "num_healthy_workers": "rollout workers that are up",
    "num_restarts": "actors restarted so far",
    "policy_reward_mean": "mean return by policy",
    "evaluation": "the newest evaluation's result",
    "info": "losses, and metrics by role",
}

NESTED_KEYS = ("policy_reward_mean", "evaluation", "info")
"""Keys of RESULT_KEYS that hold a mapping, not a number."""

FREE_PREFIXES = ("info/", "evaluation/", "custom_metrics/", "policy_reward_mean/")
"""Paths below these are not known beforehand and are not checked."""
