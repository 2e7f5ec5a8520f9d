"""What an algorithm file's `program` gets beside its config, and how a config may be given."""

from __future__ import annotations

from typing import Any, NamedTuple

from actorrl.algorithms.config import AlgorithmConfig
from actorrl.envs.check import EnvInfo
from actorrl.errors import ConfigError
from actorrl.roles.settings import LearnerSettings, MakeUpdate, WorkerSettings


class Setup(NamedTuple):
    """What an algorithm file's `program` gets beside its config."""

    info: EnvInfo
    seed: int
    recover: Any  # () -> the learner's state of the newest whole checkpoint, or None

    def workers(self, config: AlgorithmConfig) -> WorkerSettings:
        return WorkerSettings(
            env=self.info.env,
            env_config=config.env_config,
            num_workers=config.resolved_num_workers(),
            num_envs_per_worker=config.num_envs_per_worker,
            fragment_length=config.fragment_length(),
            seed=self.seed,
            autoreset=config.autoreset,
            recreate_failed_envs=config.recreate_failed_envs,
            output=config.output,
            callbacks=config.callbacks_class,
        )

    def learner(
        self, config: AlgorithmConfig, make_update: MakeUpdate, **more: Any
    ) -> LearnerSettings:
        return LearnerSettings(
            make_update=make_update,
            train_batch_size=config.train_batch_size,
            num_gpus=config.resolved_num_gpus(),
            num_threads=config.learner_threads(),
            recover=self.recover,
            **more,
        )


def as_config(
    config_class: type[AlgorithmConfig],
    config: AlgorithmConfig | dict[str, Any] | None,
    env: Any,
) -> AlgorithmConfig:
    """RLlib's ways to say it: a config object, a dict, or nothing, and `env` beside it."""
    if config is None or isinstance(config, dict):
        config = config_class().update_from_dict(config or {})
    elif not isinstance(config, config_class):
        raise ConfigError(f"config: {type(config).__name__} is not {config_class.__name__}")
    return config.copy().environment(env) if env is not None else config
