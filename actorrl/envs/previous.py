"""Environments whose observations also say what was done last and what it brought: for LSTMs.

RLlib feeds both to the network beside the observation (`lstm_use_prev_action`,
`lstm_use_prev_reward`); here they are part of it, so that workers, learners, evaluation and
checkpoints need not know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from actorrl.envs.numbers import reward_number
from actorrl.envs.old_form import todays_form
from actorrl.envs.registry import EnvContext, EnvLike, make_env, resolve
from actorrl.errors import ConfigError

_OBS, PREV_ACTION, PREV_REWARD = "obs", "prev_action", "prev_reward"


class WithPrevious:
    """A creator of such environments, in the place of `env`."""

    def __init__(self, env: Any, action: bool, reward: bool, clipped: bool = True) -> None:
        """`clipped`: what a Box's actions are before the environment gets them."""
        found = resolve(env)
        if isinstance(found.env, str) and found.env.startswith("ALE/"):
            raise ConfigError(
                "model.lstm_use_prev_action, model.lstm_use_prev_reward: not with Atari's stacked"
                " frames, expected false"
            )
        self._env: EnvLike = found.env
        self.__name__, self.action, self.reward = found.name, action, reward
        self._clipped = clipped

    def __call__(self, context: EnvContext) -> gym.Env[Any, Any]:
        return _Telling(todays_form(make_env(self._env, context)), self)

    def joined(self, obs: Any, space: gym.Space[Any], action: Any, reward: Any) -> dict[str, Any]:
        """What a policy observes; None as action or reward: an episode's start. Beside the keys of
        a Dict, so that a mask of actions stays one."""
        seen = dict(obs) if isinstance(obs, Mapping) else {_OBS: obs}
        if self.action:
            seen[PREV_ACTION] = nothing_done(space) if action is None else action
        if self.reward:
            seen[PREV_REWARD] = np.array([reward or 0.0], np.float32)
        return seen

    def space(self, obs: gym.Space[Any], action: gym.Space[Any]) -> spaces.Dict:
        seen: dict[str, gym.Space[Any]] = {_OBS: obs}
        if isinstance(obs, spaces.Dict):
            seen = dict(obs.spaces)
        if self.action:
            seen[PREV_ACTION] = action if self._clipped else _without_bounds(action)
        if self.reward:
            seen[PREV_REWARD] = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        return spaces.Dict(seen)


class _Telling(gym.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: gym.Env[Any, Any], telling: WithPrevious) -> None:
        super().__init__(env)
        self._telling = telling
        self.observation_space = telling.space(env.observation_space, env.action_space)

    def reset(self, **options: Any) -> Any:
        obs, info = self.env.reset(**options)
        return self._telling.joined(obs, self.action_space, None, None), info

    def step(self, action: Any) -> Any:
        obs, reward, *flags, info = self.env.step(action)
        seen = self._telling.joined(obs, self.action_space, action, reward_number(reward))
        return seen, reward, *flags, info


def _without_bounds(space: gym.Space[Any]) -> gym.Space[Any]:
    """Of each Box, where an action may be anything."""
    if isinstance(space, spaces.Box):
        return spaces.Box(-np.inf, np.inf, space.shape, np.float32)
    if isinstance(space, spaces.Dict):
        return spaces.Dict({name: _without_bounds(part) for name, part in space.spaces.items()})
    if isinstance(space, spaces.Tuple):
        return spaces.Tuple([_without_bounds(part) for part in space.spaces])
    return space


def nothing_done(space: gym.Space[Any]) -> Any:
    """What stands for the last action where there was none: the first one, or zeros."""
    if isinstance(space, spaces.Discrete):
        return int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        return space.start.copy()
    if isinstance(space, spaces.Dict):
        return {name: nothing_done(part) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(nothing_done(part) for part in space.spaces)
    zeros = np.zeros(space.shape or (), space.dtype)
    return zeros.clip(space.low, space.high) if isinstance(space, spaces.Box) else zeros
