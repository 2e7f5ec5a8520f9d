"""What checkpoints say of themselves, and what can be made from one: a config, a policy that plays,
a learner that goes on. Loading one never runs code of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actorrl.algorithms import naming
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.config import apply, to_plain
from actorrl.envs.check import EnvInfo, check_env
from actorrl.envs.registry import resolve
from actorrl.envs.vector import make_vector
from actorrl.errors import CheckpointError, ConfigError
from actorrl.experiment.checkpoints import newest_whole, read_checkpoint, read_manifest, require
from actorrl.experiment.run_folder import RunFolder
from actorrl.models import registry as models
from actorrl.roles.settings import Recovery, State
from actorrl.rollouts import evaluation

EVALUATION_SEED = 20_000
_EVALUATION_ENVS = 20
_MUST_AGREE = ("algo", "observation_space", "action_space")


def checked(config: AlgorithmConfig) -> EnvInfo:
    """All that can be said before anything starts. Raises ConfigError, EnvironmentFailure."""
    errors = config.validate()
    if config.env is None:
        errors.append("env: missing, expected an environment, for instance 'CartPole-v1'")
    errors += [f"model.{line}" for line in models.resolve(config.model)]
    if errors:
        raise ConfigError(errors)
    return check_env(config.env, config.env_config)


def plain_config(config: AlgorithmConfig) -> dict[str, Any]:
    """The config for files, with its environment by name. Without the hosts: a checkpoint is for
    any machine, and variables of a host list may be secret."""
    plain = {**to_plain(config), "env": naming.to_name(config.env)}
    del plain["hosts"]
    return plain


def about(algo: str, config: AlgorithmConfig, info: EnvInfo, iteration: int) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {
        "algo": algo,
        "env": naming.to_name(config.env),
        "config": plain_config(config),
        "observation_space": str(info.observation_space),
        "action_space": str(info.action_space),
        "training_iteration": iteration,
    }


def read_fitting(path: str | Path, ours: dict[str, Any]) -> State:
    """The state in a checkpoint of the same algorithm and spaces, else CheckpointError."""
    require(path, read_manifest(path), **{key: ours[key] for key in _MUST_AGREE})
    return read_checkpoint(path)


def config_of(path: str | Path, env: Any = None) -> AlgorithmConfig:
    """The config that a checkpoint was trained with. `env` takes the place of its environment."""
    from actorrl.algorithms.registry import config_class

    said = read_manifest(path).about
    if not isinstance(said.get("config"), dict) or not isinstance(said.get("algo"), str):
        raise CheckpointError(f"{path}: says nothing of its algorithm and config")
    try:
        config = config_class(said["algo"])()
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    settings = dict(said["config"])
    name = str(settings.pop("env", ""))
    settings.pop("custom_evaluation_function", None)  # code: given anew, or left out
    errors = apply(config, settings)
    if errors:
        raise CheckpointError(f"{path}: its config does not fit: {'; '.join(errors)}")
    config.env = naming.from_name(name, env)
    missing = models.resolve(config.model)
    if missing:
        raise CheckpointError(f"{path}: model.{'; model.'.join(missing)}")
    return config


def newest_learner_state(folder: str) -> Recovery | None:
    """Called in the learner's process when it was started again; None on another host than the
    driver's, who then brings it back."""
    if not Path(folder).is_dir():
        return None
    damaged: list[str] = []
    path = newest_whole(RunFolder.open(folder), damaged)
    if path is None:
        return None
    return Recovery(read_checkpoint(path)["learner"], str(path), damaged)


def play_episodes(
    config: AlgorithmConfig, policy: Any, episodes: int, explore: bool
) -> dict[str, Any]:
    """Whole episodes on fixed seeds: the same weights give the same numbers."""
    env = resolve(config.env).env
    num_envs = min(episodes, _EVALUATION_ENVS)
    vector = make_vector(env, config.env_config, num_envs, seed=EVALUATION_SEED)
    try:
        return evaluation.summary(evaluation.play(vector, policy, episodes, explore))
    finally:
        vector.close()


def evaluate_checkpoint(
    path: str | Path, *, episodes: int, explore: bool = False, env: Any = None
) -> dict[str, Any]:
    """Play with a checkpoint's policy, in this process alone."""
    config = config_of(path, env)
    info = checked(config)
    state = read_fitting(path, about(read_manifest(path).about["algo"], config, info, 0))
    policy = config.algorithm.make_policy(config, info, 0, config.greediest_env())
    policy.load_flat(state["learner"]["weights"], version=1)
    return play_episodes(config, policy, episodes, explore)
