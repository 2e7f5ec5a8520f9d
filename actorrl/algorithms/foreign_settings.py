"""Settings that RLlib has and actorrl does not: those that change nothing here, and those that may
be said as long as they say how actorrl does it anyway. An algorithm that has one of them itself is
not meant."""

from __future__ import annotations

from typing import Any

# Settings of RLlib's that have nothing to act on here, whatever they are set to.
NO_EFFECT = frozenset(
    [
        "eager_tracing", "eager_max_retraces", "log_level", "create_env_on_driver",
        "create_env_on_local_worker", "enable_connectors", "simple_optimizer",
        "disable_env_checking", "placement_strategy", "log_sys_usage", "num_cpus_for_driver",
        "num_cpus_for_local_worker", "num_cpus_per_learner_worker", "num_cpus_per_learner",
        "preprocessor_pref",
        "tf_session_args", "local_tf_session_args", "remote_worker_envs",
        "remote_env_batch_wait_ms", "keep_per_episode_custom_metrics", "synchronize_filters",
        "sample_async", "always_attach_evaluation_results", "evaluation_parallel_to_training",
        # How data flows, and what makes an iteration, are the topology's here.
        "broadcast_interval", "max_sample_requests_in_flight_per_worker",
        "num_multi_gpu_tower_stacks", "num_data_loader_buffers", "minibatch_buffer_size",
        "learner_queue_size", "learner_queue_timeout", "num_aggregation_workers",
        "min_sample_timesteps_per_iteration", "min_train_timesteps_per_iteration",
        "timesteps_per_iteration", "compress_observations", "shuffle_sequences",
        "shuffle_buffer_size", "microbatch_size", "max_requests_in_flight_per_sampler_worker",
        "noise_size", "report_length", "eval_prob",
        "auto_wrap_old_gym_envs", "is_atari", "sample_collector", "env_runner_cls", "logger_config",
        "validate_workers_after_construction", "update_worker_filter_stats",
        "use_worker_filter_stats", "metrics_episode_collection_timeout_s", "local_gpu_idx",
        "min_sample_timesteps_per_reporting", "min_train_timesteps_per_reporting",
        "policy_states_are_swappable", "policy_map_capacity", "postprocess_inputs",
        "enable_async_evaluation", "evaluation_force_reset_envs_before_iteration",
        "ope_split_batch_by_episode", "sampler_perf_stats_ema_coef", "enable_tf1_exec_eagerly",
        # Datasets are compressed, in shards, and say themselves what is in them.
        "output_compress_columns", "output_max_file_size", "actions_in_input_normalized",
        "offline_sampling", "extra_python_environs_for_driver",
        "extra_python_environs_for_worker",
        # Workers that die are started again here, within limits of the runtime's own.
        "recreate_failed_workers", "recreate_failed_env_runners", "restart_failed_env_runners",
        "ignore_worker_failures", "ignore_env_runner_failures", "max_num_worker_restarts",
        "max_num_env_runner_restarts", "delay_between_worker_restarts_s",
        "delay_between_env_runner_restarts_s", "num_consecutive_worker_failures_tolerance",
        "num_consecutive_env_runner_failures_tolerance", "worker_health_probe_timeout_s",
        "env_runner_health_probe_timeout_s", "worker_restore_timeout_s",
        "env_runner_restore_timeout_s", "sample_timeout_s", "evaluation_sample_timeout_s",
        # Which of RLlib's two inner structures a run has.
        "enable_rl_module_and_learner", "enable_env_runner_and_connector_v2",
        "_enable_rl_module_api", "_enable_learner_api", "_disable_preprocessor_api",
        "_disable_execution_plan_api", "_tf_policy_handles_more_than_one_loss",
        "_enable_new_api_stack",
    ]
)  # fmt: skip
# Of RLlib's: setting -> the values that say how actorrl does it anyway.
FIXED: dict[str, tuple[Any, ...]] = {
    "framework": ("torch", "pytorch"),
    "use_gae": (True,),
    "use_critic": (True,),
    "batch_mode": ("truncate_episodes",),
    "vtrace": (True,),
    "normalize_actions": (True,),
    "clip_actions": (False,),
    "in_evaluation": (False,),
    "observation_filter": ("NoFilter",),
    "soft_horizon": (False,),
    "horizon": (None,),  # gymnasium's max_episode_steps
    "render_env": (False,),
    "action_mask_key": ("action_mask",),
    "fake_sampler": (False,),
    "logger_creator": (None,),  # of `build`
    "env_task_fn": (None,),
    "worker_cls": (None,),
    "torch_compile_worker": (False,),
    "rl_module_spec": (None,),
    "_rl_module_spec": (None,),
    "algorithm_config_overrides_per_module": ({}, None),
    "_fake_gpus": (False,),
    "custom_resources_per_worker": (None, {}),
    "_disable_action_flattening": (False,),
    "count_steps_by": ("env_steps",),
    "observation_fn": (None,),
    "input_": ("sampler",),
    "input": ("sampler",),
    "input_config": ({}, None),
    "input_evaluation": ([], None),
    "output_config": ({}, None),
    "off_policy_estimation_methods": (None, {}, []),
    "export_native_model_files": (False,),  # `export_policy_model`
    "checkpoint_trainable_policies_only": (False,),
    "learner_class": (None,),
    "learner_config_dict": (None, {}),
    "td_error_loss_fn": ("huber",),
    "categorical_distribution_temperature": (1.0,),
    "store_buffer_in_checkpoints": (False,),
    "before_learn_on_batch": (None,),
    "worker_side_prioritization": (False,),
    "momentum": (0.0,),
    "decay": (0.99,),
    "vtrace_drop_last_ts": (False,),
    "num_sgd_iter": (1,),
    "tau": (1.0,),
    "offset": (0,),
    "beta": (0.0,),
    "no_done_at_end": (False,),
    "replay_proportion": (0.0,),
    "num_atoms": (1,),
    "noisy": (False,),
    "return_proc_mode": ("centered_rank",),
    "l2_reg": (0.0,),
    "adam_epsilon": (1e-5,),
    "target_network_update_freq": (1, 0),
}
