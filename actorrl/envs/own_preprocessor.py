"""A user's own preprocessor, RLlib's `model: {custom_preprocessor: NAME}`: what networks see in the
place of an environment's observations.

It becomes part of the environment, so that workers, learners, evaluation and checkpoints need not
know of it; its class travels to the workers as the environment's does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from actorrl.envs.old_form import todays_form
from actorrl.envs.registry import EnvContext, EnvLike, make_env, resolve
from actorrl.errors import ConfigError


class Preprocessor:
    """RLlib's base class. A subclass says what shape comes out (`_init_shape`) and turns one
    observation into an array of it (`transform`).

    `options` are the settings of the model; one's own go into its `custom_model_config`.
    """

    def __init__(self, obs_space: gym.Space[Any], options: Mapping[str, Any] | None = None) -> None:
        self._obs_space = obs_space
        self._options = dict(options or {})
        self.shape = tuple(self._init_shape(obs_space, self._options))

    def _init_shape(self, obs_space: gym.Space[Any], options: Mapping[str, Any]) -> tuple[int, ...]:
        raise NotImplementedError(f"{type(self).__name__} defines no _init_shape")

    def transform(self, observation: Any) -> np.ndarray:
        raise NotImplementedError(f"{type(self).__name__} defines no transform")

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """Of what comes out: any numbers. A subclass that makes images says so here, by a Box of
        bytes; another space is preprocessed once more, as an environment's would be."""
        return spaces.Box(-np.inf, np.inf, self.shape, np.float32)


class WithPreprocessor:
    """A creator of environments with a preprocessor, in the place of `env`."""

    def __init__(self, env: Any, cls: type[Preprocessor], options: Mapping[str, Any]) -> None:
        found = resolve(env)
        if not (isinstance(cls, type) and issubclass(cls, Preprocessor)):
            raise ConfigError(
                f"model.custom_preprocessor: {cls!r} is not accepted, expected a class"
                " derived from actorrl.Preprocessor"
            )
        if isinstance(found.env, str) and found.env.startswith("ALE/"):
            raise ConfigError(
                "model.custom_preprocessor: not with Atari's stacked frames, expected null"
            )
        self._env: EnvLike = found.env
        self._cls, self._options = cls, dict(options)
        self._space: gym.Space[Any] | None = None  # of what goes in, once one was made here
        self.__name__ = found.name

    def __call__(self, context: EnvContext) -> gym.Env[Any, Any]:
        env = todays_form(make_env(self._env, context))
        self._space = env.observation_space
        return _Preprocessed(env, self._cls(env.observation_space, self._options))

    def transform(self, obs: Any) -> np.ndarray:
        """An observation as the environments that this has made show it."""
        assert self._space is not None, "no environment was made here"
        return self._cls(self._space, self._options).transform(obs)


class _Preprocessed(gym.ObservationWrapper[Any, Any, Any]):
    def __init__(self, env: gym.Env[Any, Any], preprocessor: Preprocessor) -> None:
        super().__init__(env)
        self._preprocessor = preprocessor
        self.observation_space = preprocessor.observation_space

    def observation(self, observation: Any) -> Any:
        return self._preprocessor.transform(observation)
