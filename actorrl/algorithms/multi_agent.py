"""Which policies a run has, what each sees, and who acts with which: RLlib's `multi_agent(...)`.

A policy's spaces are those given for it, else those of the first agent that is mapped to it in a
short try-out of the environment on the driver.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym
import numpy as np

from actorrl.algorithms.registry import those_with
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.envs.base_env import AgentsVector, BaseEnvVector, make_agents_vector
from actorrl.envs.check import EnvInfo
from actorrl.envs.multi_agent import Tick, space_of
from actorrl.envs.preprocessors import preprocessor_for, problem_with
from actorrl.envs.registry import EnvContext, resolve
from actorrl.errors import ConfigError, EnvironmentFailure
from actorrl.models import registry as models
from actorrl.policies.base import Policy
from actorrl.rollouts.policy_mapping import EpisodeInfo, MappingFn, with_accepted_arguments

if TYPE_CHECKING:
    from actorrl.algorithms.config import AlgorithmConfig

_TRY_OUT_STEPS = 100


class PolicySpec(NamedTuple):
    """One entry of `policies` (RLlib's, also as a plain tuple of four). Spaces that are None are
    found. A class derived from Policy plays beside those that learn (a heuristic), and so does the
    policy of another algorithm, where its class is given: weights come from a run of that one."""

    policy_class: Any = None
    observation_space: gym.Space[Any] | None = None
    action_space: gym.Space[Any] | None = None
    config: Mapping[str, Any] | None = None  # settings that differ from the run's


def specs_of(policies: Any) -> dict[str, PolicySpec]:
    """RLlib's ways to say it: ids, or a dict of None, tuples and specs. Raises ConfigError."""
    if policies is None:
        return {}
    if not isinstance(policies, Mapping):
        policies = dict.fromkeys(policies)
    specs, errors = {}, []
    for name, given in policies.items():
        if not isinstance(name, str) or not name or "/" in name:
            errors.append(f"policies: {name!r} is no policy id, expected a text without '/'")
        elif given is None or (isinstance(given, tuple) and len(given) == len(PolicySpec._fields)):
            specs[name] = PolicySpec(*(given or ()))
            errors += class_lines(name, specs[name].policy_class)
            errors += _settings_lines(name, specs[name].config)
        else:
            errors.append(
                f"policies.{name}: {given!r} is not accepted, expected None or (None,"
                " observation_space, action_space, config)"
            )
    if errors:
        raise ConfigError(errors)
    return specs


def _settings_lines(name: str, settings: Any) -> list[str]:
    if settings is None or hasattr(settings, "keys"):  # a mapping, or another config
        return []
    return [
        f"policies.{name}: its config {settings!r} is not accepted, expected a dict of settings"
    ]


def class_lines(name: str, policy_class: Any) -> list[str]:
    """What is wrong with the class of a policy."""
    if policy_class is None or is_policy(policy_class) or is_algorithm(policy_class):
        return []
    return [
        f"policies.{name}: {policy_class!r} is not accepted, expected None (the algorithm's own"
        " policy, with a model of yours where you give one), or a class derived from Policy or"
        " another algorithm's, which plays and does not learn"
    ]


def is_algorithm(policy_class: Any) -> bool:
    return isinstance(policy_class, type) and hasattr(policy_class, "config_class")


def is_policy(policy_class: Any) -> bool:
    return isinstance(policy_class, type) and issubclass(policy_class, Policy)


def learning(config: AlgorithmConfig, names: Iterable[str]) -> list[str]:
    """Those that learn: all of `policies_to_train` that have no class of the user's."""
    specs, wanted = specs_of(config.policies), config.policies_to_train
    names = list(names)
    if callable(wanted):
        wanted = [name for name in names if wanted(name)]
    own = [name for name in names if specs.get(name, PolicySpec()).policy_class is None]
    return own if wanted is None else [name for name in own if name in wanted]


def config_for(config: AlgorithmConfig, name: str) -> Any:
    """The run's settings, or another algorithm's own where its policy plays, with those of one
    policy over them; models that are named are classes in it. Raises ConfigError."""
    spec = specs_of(config.policies).get(name, PolicySpec())
    found = spec.policy_class.config_class() if is_algorithm(spec.policy_class) else config.copy()
    errors = found.change(dict(spec.config or {}))
    errors += [f"model.{line}" for line in models.resolve(found.model)]
    if errors:
        raise ConfigError([f"policies.{name}.{line}" for line in errors])
    return found


def mapping_of(config: AlgorithmConfig) -> MappingFn:
    """Agent -> policy. Without a function, the only policy acts for all."""
    if config.policy_mapping_fn is not None:
        function: MappingFn = config.policy_mapping_fn
        return function
    names = list(specs_of(config.policies)) or [DEFAULT_POLICY]
    return functools.partial(_only, names[0])


def _only(name: str, agent: Any) -> str:
    return name


def lines(config: AlgorithmConfig) -> list[str]:
    """What is wrong with the settings of several policies."""
    try:
        specs = specs_of(config.policies)
    except ConfigError as error:
        return list(error.messages)
    wrong = []
    if specs and not type(config).several_policies:
        wrong.append(_refusal(config))
    if len(specs) > 1 and config.policy_mapping_fn is None:
        wrong.append(
            f"policy_mapping_fn: missing, expected a function of an agent's id that returns one of"
            f" {', '.join(specs)}"
        )
    if config.policy_mapping_fn is not None and not callable(config.policy_mapping_fn):
        wrong.append(f"policy_mapping_fn: {config.policy_mapping_fn!r} is no function")
    if specs and all(spec.policy_class is not None for spec in specs.values()):
        wrong.append("policies: each has a class of its own and none learns, expected one None")
    return wrong + _not_to_train(config.policies_to_train, specs)


def _not_to_train(to_train: Any, specs: Mapping[str, PolicySpec]) -> list[str]:
    if to_train is None or callable(to_train):
        return []
    if isinstance(to_train, str) or not isinstance(to_train, Collection):
        return [f"policies_to_train: {to_train!r} is not accepted, expected a list of ids"]
    unknown = [name for name in to_train if name not in specs]
    return [
        f"policies_to_train: no policy {name!r}, expected of {', '.join(specs)}"
        for name in unknown[:1]
    ]


def _refusal(config: AlgorithmConfig) -> str:
    algo, able = config.algorithm.__name__, those_with("several_policies")
    return f"policies: {algo} learns one policy of one agent; {able} learn several"


def check(config: AlgorithmConfig) -> EnvInfo:
    """What `check_env` is for one agent: make, reset, some steps, close; the spaces of each policy.

    Raises ConfigError and EnvironmentFailure.
    """
    specs = specs_of(config.policies) or {DEFAULT_POLICY: PolicySpec()}
    if not type(config).several_policies:
        raise ConfigError(_refusal(config))
    found = resolve(config.env)
    if isinstance(found.env, str):
        raise ConfigError(
            f"env: '{found.name}' has one agent; policies need a MultiAgentEnv, for instance"
            " make_multi_agent('CartPole-v1')"
        )
    context = EnvContext(config.env_config)
    try:
        vector = make_agents_vector(found.env, [context], seed=0)
        try:
            _check_number(vector, config)
            spaces = _find_spaces(vector, config, specs)
        finally:
            vector.close()
    except EnvironmentFailure as error:
        raise EnvironmentFailure(str(error), error.user_traceback, during_check=True) from error
    infos = {
        name: _info(name, found.env, found.name, specs[name], spaces.get(name)) for name in specs
    }
    return EnvInfo(
        env=found.env,
        name=found.name,
        observation_space=_joined({name: info.observation_space for name, info in infos.items()}),
        action_space=_joined({name: info.action_space for name, info in infos.items()}),
        raw_observation_space=_joined({n: i.raw_observation_space for n, i in infos.items()}),
        reward_threshold=None,
        max_episode_steps=None,
        frame_stack=1,
        notices=[*([found.notice] if found.notice else []), *vector.notices],
        policies=infos,
    )


def _check_number(vector: AgentsVector, config: AlgorithmConfig) -> None:
    """A BaseEnv has the environments that it has."""
    if isinstance(vector, BaseEnvVector) and vector.num_envs != config.num_envs():
        raise ConfigError(
            f"num_envs_per_worker: {config.num_envs_per_worker}, but this BaseEnv has"
            f" {vector.num_envs} environments, expected {vector.num_envs}"
        )


def _joined(spaces: Mapping[str, gym.Space[Any]]) -> Any:
    return gym.spaces.Dict(dict(spaces))


Found = tuple[gym.Space[Any] | None, gym.Space[Any] | None]


def _find_spaces(
    vector: AgentsVector, config: AlgorithmConfig, specs: Mapping[str, PolicySpec]
) -> dict[str, Found]:
    """Policy -> spaces of an agent that acts with it, as the environment says them."""
    env, mapping = vector.envs[0], with_accepted_arguments(mapping_of(config))
    episode = EpisodeInfo(0, 0)
    found: dict[str, Found] = {}
    agents = _named_agents(env)
    for agent in agents:
        _note(found, env, agent, mapping(agent, episode), specs)
    for tick in _try_out(vector):
        for agent, obs in tick.obs.items():
            name = mapping(agent, episode)
            _note(found, env, agent, name, specs)
            space = specs[name].observation_space or found[name][0]
            problem = None if space is None else problem_with(space, obs)
            if problem is not None:
                raise EnvironmentFailure(f"the observation of agent {agent!r} {problem}")
    return found


def _note(
    found: dict[str, Found], env: Any, agent: Any, name: str, specs: Mapping[str, PolicySpec]
) -> None:
    if name not in specs:
        raise ConfigError(
            f"policy_mapping_fn: returned {name!r} for agent {agent!r}, expected one of"
            f" {', '.join(specs)}"
        )
    if name not in found:
        found[name] = (
            space_of(env.observation_space, agent),
            space_of(env.action_space, agent),
        )


def _named_agents(env: Any) -> list[Any]:
    """Agents that the environment names before it starts."""
    for attribute in ("possible_agents", "_agent_ids", "agents"):
        named = getattr(env, attribute, None)
        if isinstance(named, (list, tuple, set, frozenset)) and named:
            return list(named)
    return []


def _try_out(vector: AgentsVector) -> Iterator[Tick]:
    """Some steps with random actions."""
    tick = vector.reset(0)
    yield tick
    env, known = vector.envs[0], dict(tick.obs)
    for _ in range(_TRY_OUT_STEPS):
        actions = {}
        for agent in known:
            space = space_of(env.action_space, agent)
            if space is None:
                return
            actions[agent] = space.sample()
        tick = vector.step(0, actions)
        yield tick
        over = {a for flags in (tick.terminateds, tick.truncateds) for a in flags if flags[a]}
        known = {agent: obs for agent, obs in tick.obs.items() if agent not in over}
        if tick.ended or not np.isfinite(list(tick.rewards.values())).all():
            return


def _info(name: str, env: Any, env_name: str, spec: PolicySpec, found: Found | None) -> EnvInfo:
    observation_space = spec.observation_space or (found[0] if found else None)
    action_space = spec.action_space or (found[1] if found else None)
    if observation_space is None or action_space is None:
        raise ConfigError(
            f"policies.{name}: its spaces are neither given nor found in the environment: give"
            f" {name!r}: (None, observation_space, action_space, {{}})"
        )
    return EnvInfo(
        env=env,
        name=env_name,
        observation_space=preprocessor_for(observation_space).space,
        action_space=action_space,
        raw_observation_space=observation_space,
        reward_threshold=None,
        max_episode_steps=None,
        frame_stack=1,
        notices=[],
    )
