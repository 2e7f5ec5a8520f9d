"""What the policies of several agents see and do: found in a short try-out of the environment, on
the driver, before anything is started.

A policy's spaces are those given for it, else those of the first agent that is mapped to it, else
those of all other policies, where these have the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from actorrl.algorithms.multi_agent import PolicySpec, mapping_of, refusal, specs_of
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.envs.base_env import AgentsVector, BaseEnvVector, make_agents_vector
from actorrl.envs.check import EnvInfo, allowed_action
from actorrl.envs.failure import Phase
from actorrl.envs.multi_agent import Tick, space_of
from actorrl.envs.numbers import check_bounds
from actorrl.envs.preprocessors import ACTION_MASK, preprocessor_for, problem_with
from actorrl.envs.registry import EnvContext, OfSpec, resolve
from actorrl.errors import ConfigError, EnvironmentFailure
from actorrl.rollouts.policy_mapping import EpisodeInfo, with_accepted_arguments

if TYPE_CHECKING:
    from actorrl.algorithms.config import AlgorithmConfig

_TRY_OUT_STEPS = 100
Found = tuple[gym.Space[Any] | None, gym.Space[Any] | None]


def check(config: AlgorithmConfig) -> EnvInfo:
    """What `check_env` is for one agent: make, reset, some steps, close; the spaces of each policy.

    Raises ConfigError and EnvironmentFailure.
    """
    specs = specs_of(config.policies) or {DEFAULT_POLICY: PolicySpec()}
    if not type(config).several_policies:
        raise ConfigError(refusal(config))
    found = resolve(config.env)
    if isinstance(found.env, str | OfSpec):
        raise ConfigError(
            f"env: '{found.name}' has one agent; policies need a MultiAgentEnv, for instance"
            " make_multi_agent('CartPole-v1')"
        )
    context = EnvContext(config.env_config)
    try:
        vector = make_agents_vector(found.env, [context], seed=0)
        try:
            _check_number(vector, config)
            found_spaces = _find_spaces(vector, config, specs)
        finally:
            vector.close()
    except EnvironmentFailure as error:
        raise EnvironmentFailure(str(error), error.user_traceback, during_check=True) from error
    known = {name: _known(spec, found_spaces.get(name)) for name, spec in specs.items()}
    common = _of_all(known.values())
    infos = {
        name: _info(
            name, found.env, found.name, *(x or y for x, y in zip(one, common, strict=True))
        )
        for name, one in known.items()
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
    if isinstance(vector, BaseEnvVector) and config.recreate_failed_envs:
        raise ConfigError(
            "recreate_failed_envs: true with a BaseEnv, which alone could make one of its"
            " environments anew, expected false"
        )
    if isinstance(vector, BaseEnvVector) and vector.num_envs != config.num_envs():
        raise ConfigError(
            f"num_envs_per_worker: {config.num_envs_per_worker}, but this BaseEnv has"
            f" {vector.num_envs} environments, expected {vector.num_envs}"
        )


def _joined(spaces: Mapping[str, gym.Space[Any]]) -> Any:
    return gym.spaces.Dict(dict(spaces))


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
    for number, tick in enumerate(_try_out(vector)):
        for agent, obs in tick.obs.items():
            name = mapping(agent, episode)
            _note(found, env, agent, name, specs)
            space = specs[name].observation_space or found[name][0]
            if space is not None:
                _hold_to(space, agent, obs, "step" if number else "reset")
    return found


def _hold_to(space: gym.Space[Any], agent: Any, obs: Any, phase: Phase) -> None:
    """Raises EnvironmentFailure for an observation that is not in its space."""
    problem = problem_with(space, obs)
    if problem is not None:
        raise EnvironmentFailure(f"the observation of agent {agent!r} {problem}")
    try:
        preprocessor = preprocessor_for(space)
        check_bounds(preprocessor.transform([obs]), preprocessor.space, phase)
    except ValueError as error:
        raise EnvironmentFailure(f"agent {agent!r}: {error}") from error


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
    """Some steps with random actions, of those that masks allow."""
    tick = vector.reset(0)
    yield tick
    env, known = vector.envs[0], dict(tick.obs)
    for _ in range(_TRY_OUT_STEPS):
        actions = {}
        for agent, obs in known.items():
            space = space_of(env.action_space, agent)
            if space is None:
                return
            mask = obs.get(ACTION_MASK, []) if isinstance(obs, Mapping) else []
            actions[agent] = allowed_action(space, np.ravel(mask))
        tick = vector.step(0, actions)
        yield tick
        over = {a for flags in (tick.terminateds, tick.truncateds) for a in flags if flags[a]}
        known = {agent: obs for agent, obs in tick.obs.items() if agent not in over}
        if tick.ended or not np.isfinite(list(tick.rewards.values())).all():
            return


def _known(spec: PolicySpec, found: Found | None) -> Found:
    of_agent = found or (None, None)
    return spec.observation_space or of_agent[0], spec.action_space or of_agent[1]


def _of_all(known: Iterable[Found]) -> Found:
    """What policies that no agent was mapped to have: others may come later."""
    whole = [spaces for spaces in known if spaces[0] is not None and spaces[1] is not None]
    alike = bool(whole) and all(spaces == whole[0] for spaces in whole)
    return whole[0] if alike else (None, None)


def _info(
    name: str,
    env: Any,
    env_name: str,
    observation_space: gym.Space[Any] | None,
    action_space: gym.Space[Any] | None,
) -> EnvInfo:
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
