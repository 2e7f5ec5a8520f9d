"""What checkpoints say of themselves, and what can be made from one: a config, a learner that goes
on. Loading one never runs code of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from actorrl.algorithms import agents_tried, multi_agent, naming, registry
from actorrl.algorithms.config import AlgorithmConfig
from actorrl.algorithms.multi_agent import PolicySpec
from actorrl.config import apply, to_plain
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.envs import plain_spaces
from actorrl.envs.base_env import has_agents
from actorrl.envs.check import EnvInfo, check_env
from actorrl.envs.own_preprocessor import WithPreprocessor
from actorrl.envs.previous import WithPrevious
from actorrl.envs.registry import resolve
from actorrl.errors import CheckpointError, ConfigError
from actorrl.experiment.checkpoints import newest_whole, read_checkpoint, read_manifest, require
from actorrl.experiment.epochs import next_epoch
from actorrl.experiment.run_folder import RunFolder
from actorrl.models import registry as models
from actorrl.roles.settings import ELSEWHERE, Recovery, State

_MUST_AGREE = ("algo", "observation_space", "action_space")
_SPACES = ("observation_space", "action_space")
POLICY_ID = "policy_id"  # what the checkpoint of a single policy says of itself beside


def checked(config: AlgorithmConfig) -> EnvInfo:
    """All that can be said before anything starts. Raises ConfigError, EnvironmentFailure."""
    return _looked_at(config, config.validate())


def checked_to_play(config: AlgorithmConfig) -> EnvInfo:
    """The same for a policy that is trained already, and wants no dataset, compiler or GPU that
    its training did."""
    return _looked_at(config, [])


def _looked_at(config: AlgorithmConfig, errors: list[str]) -> EnvInfo:
    """The environment, unless there are errors."""
    if config.env is None:
        errors.append("env: missing, expected an environment, for instance 'CartPole-v1'")
    errors += [f"model.{line}" for line in models.resolve(config.model)]
    if errors:
        raise ConfigError(errors)
    if config.policies is not None or has_agents(resolve(config.env).env, config.env_config):
        _refuse_for_several(config)
        return agents_tried.check(config)
    info = check_env(_with_more(config), config.env_config)
    _compare_spaces(config, info)
    return info


_PREVIOUS = ("lstm_use_prev_action", "lstm_use_prev_reward")


def _refuse_for_several(config: AlgorithmConfig) -> None:
    """What is a part of the environment here, and RLlib's policies each have; recordings, whose
    rows are told apart by environment."""
    if config.output is not None:
        raise ConfigError("output: only where there is one agent, with several expected null")
    specs = multi_agent.specs_of(config.policies)
    ours = [name for name, spec in specs.items() if not multi_agent.is_policy(spec.policy_class)]
    each = [config.model, *(multi_agent.config_for(config, name).model for name in ours)]
    for setting in (*_PREVIOUS, "custom_preprocessor"):
        if any(getattr(model, setting) for model in each):
            raise ConfigError(
                f"model.{setting}: one agent only, with several expected an environment that shows"
                " what their networks are to see"
            )


def _with_more(config: AlgorithmConfig) -> Any:
    """The environment, and what settings of the model make it show."""
    model = config.model
    told = [getattr(model, setting) for setting in _PREVIOUS]
    if model.custom_preprocessor is None:
        clipped = config.action_units() != "raw"
        action, reward = told
        return WithPrevious(config.env, action, reward, clipped) if any(told) else config.env
    if any(told):
        raise ConfigError(
            f"model.custom_preprocessor: together with {' or '.join(_PREVIOUS)}, expected one of"
            " them, or an environment that shows the other"
        )
    options = {**to_plain(model), "custom_model_config": model.custom_model_config}
    return WithPreprocessor(config.env, model.custom_preprocessor, options)


def _compare_spaces(config: AlgorithmConfig, info: EnvInfo) -> None:
    """With those that were given. Raises ConfigError."""
    found = {"observation_space": info.raw_observation_space, "action_space": info.action_space}
    wrong = [
        f"{key}: {getattr(config, key)} was given, and '{info.name}' has {space}, expected that"
        for key, space in found.items()
        if getattr(config, key) is not None and not _alike(getattr(config, key), space)
    ]
    if wrong and info.frame_stack == 1:
        raise ConfigError(wrong)


def _alike(given: Any, found: Any) -> bool:
    """Bounds may be said otherwise."""
    same = type(given) is type(found) and given.shape == found.shape
    return same and getattr(given, "n", None) == getattr(found, "n", None)


def plain_config(config: AlgorithmConfig) -> dict[str, Any]:
    """The config for files, with its environment by name. Without the hosts: a checkpoint is for
    any machine, and variables of a host list may be secret."""
    plain = {**to_plain(config), "env": naming.to_name(config.env)}
    del plain["hosts"]
    if config.policies is not None:
        specs = multi_agent.specs_of(config.policies)
        plain["policies"] = {name: _plain_spec(spec) for name, spec in specs.items()}
    if callable(config.policies_to_train):
        names = list(plain["policies"] or [DEFAULT_POLICY])
        plain["policies_to_train"] = multi_agent.learning(config, names)
    if config.policy_mapping_fn is not None:
        plain["policy_mapping_fn"] = naming.to_name(config.policy_mapping_fn)
    return plain


def _plain_spec(spec: PolicySpec) -> dict[str, Any]:
    """Spaces too: no agent that would show them may be in sight when the policy is made again."""
    plain: dict[str, Any] = {"config": to_plain(spec.config or {})}
    if spec.policy_class is not None:
        plain["class"] = naming.to_name(spec.policy_class)
    for key in _SPACES:
        space = getattr(spec, key)
        if space is not None:
            plain[key] = plain_spaces.to_plain(space)
    return plain


def _spec_of(name: str, said: dict[str, Any]) -> PolicySpec:
    """The inverse."""
    spaces = {key: plain_spaces.from_plain(said[key]) for key in _SPACES if key in said}
    policy_class = None
    if "class" in said:  # a policy that plays and does not learn
        policy_class = naming.from_name(said["class"], None, f"policies.{name}")
    return PolicySpec(policy_class, config=said["config"], **spaces)


def about(config: AlgorithmConfig, info: EnvInfo, iteration: int) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {
        "algo": registry.name_of(config.algorithm),
        "env": naming.to_name(config.env),
        "config": plain_config(config),
        "observation_space": str(info.observation_space),
        "action_space": str(info.action_space),
        "training_iteration": iteration,
    }


def read_fitting(path: str | Path, ours: dict[str, Any]) -> State:
    """The state in a checkpoint of the same algorithm and spaces, else CheckpointError."""
    check_fits(path, ours)
    return read_checkpoint(path)


def check_fits(path: str | Path, ours: dict[str, Any]) -> None:
    """Raises CheckpointError where a run that says `ours` of itself cannot go on from it."""
    require(path, read_manifest(path), **{key: ours[key] for key in _MUST_AGREE})


def _config_like(path: str | Path, said: dict[str, Any], own: Any) -> AlgorithmConfig:
    """Of the algorithm that a checkpoint names, with its defaults."""
    if not isinstance(said.get("config"), dict) or not isinstance(said.get("algo"), str):
        raise CheckpointError(f"{path}: says nothing of its algorithm and config")
    is_own = own is not None and registry.name_of(own) == said["algo"]
    try:
        algorithm = own if is_own else registry.algorithm_class(said["algo"])
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from None
    config: AlgorithmConfig = algorithm.config_class(algorithm)
    return config


def config_of(
    path: str | Path,
    env: Any = None,
    policy_mapping_fn: Any = None,
    own: Any = None,
    of_policy: bool = False,
) -> AlgorithmConfig:
    """The config that a checkpoint was trained with. `env` takes the place of its environment,
    `policy_mapping_fn` that of its function; `own` is an algorithm's class that may have no import
    path. `of_policy`: of a checkpoint of a single policy."""
    said = read_manifest(path).about
    if POLICY_ID in said and not of_policy:
        raise CheckpointError(
            f"{path}: is that of a policy alone, which Policy.from_checkpoint loads, expected one"
            " of a whole run"
        )
    config = _config_like(path, said, own)
    settings = dict(said["config"])
    name = str(settings.pop("env", ""))
    settings.pop("custom_evaluation_function", None)  # code: given anew, or left out
    for key in _SPACES:  # compared when the run began
        settings.pop(key, None)
    mapping, policies = settings.pop("policy_mapping_fn", None), settings.pop("policies", None)
    errors = apply(config, settings)
    if errors:
        raise CheckpointError(f"{path}: its config does not fit: {'; '.join(errors)}")
    config.put("env", naming.from_name(name, env))
    if policies is not None:
        specs = {name: _spec_of(name, its) for name, its in policies.items()}
        config.put("policies", specs)
    if mapping is not None:
        key = "policy_mapping_fn"
        config.put(key, naming.from_name(mapping, policy_mapping_fn, key))
    missing = models.resolve(config.model)
    if missing:
        raise CheckpointError(f"{path}: model.{'; model.'.join(missing)}")
    return config


def newest_learner_state(folder: str) -> Recovery:
    """What a learner that was started again goes on from; called in its process. On another host
    than the driver's, who then reads it there (`far_hosts`), that it is elsewhere."""
    if not Path(folder).is_dir():
        return ELSEWHERE
    damaged: list[str] = []
    path = newest_whole(RunFolder.open(folder), damaged)
    state = read_checkpoint(path)["learner"] if path is not None else None
    epoch = next_epoch(Path(folder), int(state.get("epoch", 1)) if state is not None else 1)
    return Recovery(state, str(path) if path is not None else None, damaged, epoch)
