"""The driver's check of an environment, before a run folder is made or a process started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from actorrl.envs.atari import AtariVector
from actorrl.envs.numbers import WrongNumber, check_bounds
from actorrl.envs.python_vector import PythonVector
from actorrl.envs.registry import EnvLike, resolve, reward_threshold
from actorrl.envs.vector import VectorEnv, make_vector
from actorrl.errors import EnvironmentFailure


@dataclass(frozen=True, slots=True)
class EnvInfo:
    """What a run needs to know of its environment. Spaces are as the policy sees them."""

    env: EnvLike  # for `make_vector`; a creator is to be shipped to the workers as a value
    name: str
    observation_space: gym.spaces.Box  # of one frame where frame_stack > 1
    action_space: gym.Space[Any]
    raw_observation_space: gym.Space[Any]  # before preprocessing
    reward_threshold: float | None
    max_episode_steps: int | None
    frame_stack: int
    notices: list[str]
    policies: dict[str, EnvInfo] | None = None  # of each policy, where there are several agents

    def raw_spaces(self) -> dict[str, gym.Space[Any]]:
        """Policy -> what its agents observe, before preprocessing."""
        infos = self.policies or {}
        return {name: info.raw_observation_space for name, info in infos.items()}


def check_env(env: EnvLike, env_config: Mapping[str, Any] | None = None) -> EnvInfo:
    """Find, make, reset, step once, close.

    Raises ConfigError for a name or setting that cannot be, and EnvironmentFailure (exit code 2,
    with the user's own traceback) for what the user's code does.
    """
    found = resolve(env)
    vector: VectorEnv | None = None
    try:
        is_atari = isinstance(found.env, str) and found.env.startswith("ALE/")
        vector = make_vector(found.env, env_config, 1, seed=0, native=is_atari)
        _try_out(vector)
        return _describe(found.env, found.name, found.notice, vector)
    except EnvironmentFailure as error:
        text = f"'{found.name}', tried out before the run: {error}"
        raise EnvironmentFailure(text, error.user_traceback, during_check=True) from error
    except ValueError as error:  # a space that no preprocessor takes
        raise EnvironmentFailure(
            f"environment '{found.name}': {error}", during_check=True
        ) from error
    finally:
        if vector is not None:
            vector.close()


def _try_out(vector: VectorEnv) -> None:
    """One reset and one step, with an action that the environment's own space gives. Raises
    ValueError for a space of actions that nobody can act in."""
    if not _can_act(vector.action_space):
        raise ValueError(
            f"actions of the space {vector.action_space} are not supported; Discrete, Box, "
            "MultiDiscrete, MultiBinary, and Dict and Tuple of these are"
        )
    obs = vector.reset()
    _check_obs(obs, vector.observation_space, "reset")
    vector.action_space.seed(0)
    mask_size = int(getattr(vector.observation_space, "mask_size", 0))
    result = vector.step(_one_action(vector.action_space, obs[0].ravel()[:mask_size]))
    _check_obs(result.obs, vector.observation_space, "step")
    if not np.isfinite(result.rewards).all():
        raise EnvironmentFailure(
            f"environment 0: step() returned the reward {result.rewards[0]}, expected a finite"
            " number"
        )


def _one_action(space: gym.Space[Any], mask: np.ndarray) -> Any:
    """As policies hand over the actions of one environment; one that the mask [M] allows."""
    action = allowed_action(space, mask)
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        return [action]
    return np.asarray(action)[None]


def allowed_action(space: gym.Space[Any], mask: np.ndarray) -> Any:
    """At random, one that the mask [M] allows where it is one of this space."""
    allowed = (mask > 0).astype(np.int8)
    if isinstance(space, gym.spaces.Discrete) and len(mask) == space.n:
        return space.sample(mask=allowed)
    if isinstance(space, gym.spaces.MultiDiscrete) and len(mask) == space.nvec.sum():
        return space.sample(mask=tuple(np.split(allowed, np.cumsum(space.nvec)[:-1])))
    return space.sample()


def _check_obs(obs: np.ndarray, space: gym.spaces.Box, phase: str) -> None:
    try:
        check_bounds(obs, space, phase)
    except WrongNumber as error:
        raise EnvironmentFailure(f"environment {error.env_index}: {error}") from error


def _can_act(space: gym.Space[Any]) -> bool:
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        parts = list(space.values() if isinstance(space, gym.spaces.Dict) else space)
        return bool(parts) and all(_can_act(part) for part in parts)
    kinds = gym.spaces
    known = kinds.Discrete | kinds.Box | kinds.MultiDiscrete | kinds.MultiBinary
    return isinstance(space, known) and 0 not in (space.shape or ())


def _describe(env: EnvLike, name: str, notice: str | None, vector: VectorEnv) -> EnvInfo:
    spec = gym.spec(env) if isinstance(env, str) else None
    raw_space: gym.Space[Any] = vector.observation_space
    if isinstance(vector, PythonVector):
        raw_space = vector.envs[0].observation_space
        spec = vector.envs[0].spec or spec
    threshold = reward_threshold(env)
    if threshold is None and spec is not None:
        threshold = spec.reward_threshold
    max_episode_steps = spec.max_episode_steps if spec is not None else None
    if isinstance(vector, AtariVector):
        max_episode_steps = vector.max_episode_steps
    return EnvInfo(
        env=env,
        name=name,
        observation_space=vector.observation_space,
        action_space=vector.action_space,
        raw_observation_space=raw_space,
        reward_threshold=threshold,
        max_episode_steps=max_episode_steps,
        frame_stack=vector.frame_stack,
        notices=[*([notice] if notice else []), *getattr(vector, "notices", [])],
    )
