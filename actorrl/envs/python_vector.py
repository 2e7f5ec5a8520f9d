"""Our own loop over B environments, for any environment that Gymnasium can make."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from actorrl import copies
from actorrl.data.columns import OBS
from actorrl.envs.failure import Phase, failure, small_seed, successors_seed
from actorrl.envs.multi_agent import MultiAgentEnv
from actorrl.envs.numbers import WrongNumber, check_bounds, check_numbers, reward_number
from actorrl.envs.old_form import notice_about, todays_form
from actorrl.envs.preprocessors import Unchanged, preprocessor_for, problem_with
from actorrl.envs.recreating import Recreating
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import Autoreset, StepResult
from actorrl.errors import EnvironmentFailure


class PythonVector(Recreating):
    """Makes one environment per context, and steps them one after the other.

    Environment i is seeded with `seed + i` at its first reset, and never again. An error of one
    of them is raised as EnvironmentFailure that names worker, environment and phase. With
    `recreate_failed` that one is closed and made anew instead, under a seed of its own, and
    `num_recreated` counts it, unless it fails again and again.
    """

    def __init__(
        self,
        creator: Callable[[EnvContext], gym.Env[Any, Any]],
        contexts: Sequence[EnvContext],
        *,
        seed: int | None = None,
        autoreset: Autoreset = "next_step",
        frame_stack: int = 1,
        recreate_failed: bool = False,
    ) -> None:
        assert not (recreate_failed and autoreset == "same_step"), "its row is to be no transition"
        super().__init__(len(contexts), recreate_failed)
        self.num_envs = len(contexts)
        self.autoreset: Autoreset = autoreset
        self.frame_stack = frame_stack
        self.contexts = contexts
        self._seed = self._first_seed = seed
        self._creator = creator
        self.last_infos: list[Any] = [{}] * self.num_envs  # of each one's last step
        self.envs = [self._make(i) for i in range(self.num_envs)]
        self._raw_space = self.envs[0].observation_space
        self._preprocessor = preprocessor_for(self._raw_space)
        self.observation_space = self._preprocessor.space
        # Otherwise observations can be put where they are wanted as they come.
        self._transforms = (
            not isinstance(self._preprocessor, Unchanged)
            or self._raw_space.dtype != self.observation_space.dtype
        )
        self.action_space = self.envs[0].action_space
        self._ended = np.zeros(self.num_envs, np.bool_)
        self._tried: set[Phase] = set()  # the first observations of each are held to their space

    def reset(self, seed: int | None = None) -> np.ndarray:
        seed = self._seed if seed is None else seed
        raw = self._empty(self.num_envs)
        for i in range(self.num_envs):
            try:
                raw[i] = self._reset_one(i, None if seed is None else seed + i)
            except EnvironmentFailure as failure:
                raw[i] = self._recreate(i, failure)
        self._ended = np.zeros(self.num_envs, np.bool_)
        self._seed = None
        return self._transformed(raw, "reset")

    def step(self, actions: Any, out: np.ndarray | None = None) -> StepResult:
        raw = self._empty(self.num_envs) if out is None or self._transforms else out
        rewards = np.zeros(self.num_envs, np.float32)
        terminateds = np.zeros(self.num_envs, np.bool_)
        truncateds = np.zeros(self.num_envs, np.bool_)
        broken: list[int] = []
        for i, action in enumerate(self._env_actions(actions)):
            try:
                if self._ended[i]:
                    raw[i] = self._reset_one(i, None)
                else:
                    raw[i], rewards[i], terminateds[i], truncateds[i] = self._step_one(i, action)
                    self._went_well(i)
            except EnvironmentFailure as failure:
                raw[i] = self._recreate(i, failure)
                broken.append(i)
        obs = self._transformed(raw, "step")
        if out is not None and obs is not out:
            np.copyto(out, obs)
            obs = out
            if copies.COUNTING:  # from the environment into `raw`
                copies.note("env", OBS, obs.nbytes)
        ended = terminateds | truncateds
        if self.autoreset == "next_step":
            self._ended = ended
            broken_envs = np.array(broken, np.int64) if broken else None
            return StepResult(obs, rewards, terminateds, truncateds, broken_envs=broken_envs)
        final_envs = np.flatnonzero(ended)
        if not len(final_envs):
            return StepResult(obs, rewards, terminateds, truncateds)
        final_obs = obs[final_envs]  # fancy indexing copies
        obs = self._reset_in_place(obs, final_envs)
        return StepResult(obs, rewards, terminateds, truncateds, final_obs, final_envs)

    @property
    def notices(self) -> list[str]:
        """About what was wrapped, as far as it has shown."""
        return list(dict.fromkeys(filter(None, map(notice_about, self.envs))))

    def close(self) -> None:
        for env in self.envs:
            env.close()

    def _recreate(self, i: int, failure: EnvironmentFailure) -> Any:
        """The first observation of the one that takes the place of environment i. Raises the
        failure unless that is wanted and helps."""
        return self._in_place_of(i, failure, functools.partial(self._succeed, i))

    def _succeed(self, i: int) -> Any:
        self.envs[i] = self._make(i)
        self.on_made_anew(i)
        first = None if self._first_seed is None else self._first_seed + i
        return self._reset_one(i, successors_seed(first, self.num_recreated))

    def _make(self, i: int) -> gym.Env[Any, Any]:
        try:
            env = self._creator(self.contexts[i])
            if not isinstance(env, MultiAgentEnv | gym.vector.VectorEnv):
                env = todays_form(env)
            if not isinstance(env, gym.Env):
                raise TypeError(
                    f"expected a gymnasium.Env, got a {type(env).__module__}.{type(env).__name__}"
                    f"{_way_out(env)}"
                )
            _check_spaces(env)
        except Exception as error:
            raise self._failure(error, "make", i) from error
        return env

    def _empty(self, num_envs: int) -> Any:
        """Room for raw observations; fresh each time, since results are never written again."""
        if self._raw_space.shape is None:  # a Dict or Tuple
            return [None] * num_envs
        return np.empty((num_envs, *self._raw_space.shape), self._raw_space.dtype)

    def _env_actions(self, actions: Any) -> Sequence[Any]:
        """One action per environment, of the type that it expects."""
        if isinstance(self.action_space, gym.spaces.Discrete):
            counted: list[int] = actions.tolist()
            return counted
        return list(actions)

    def _reset_one(self, i: int, seed: int | None) -> Any:
        try:
            returned = self.envs[i].reset(seed=None if seed is None else small_seed(seed))
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise TypeError("reset() must return (obs, info), as Gymnasium's API says")
            return self._checked(returned[0], "reset")
        except Exception as error:
            raise self._failure(error, "reset", i) from error

    def _step_one(self, i: int, action: Any) -> tuple[Any, float, bool, bool]:
        try:
            returned = self.envs[i].step(action)
            if not isinstance(returned, tuple) or len(returned) != 5:
                raise TypeError(
                    "step() must return (obs, reward, terminated, truncated, info), as "
                    "Gymnasium's API says"
                )
            obs, reward, terminated, truncated, self.last_infos[i] = returned
            checked, number = self._checked(obs, "step"), reward_number(reward)
            return checked, number, bool(terminated), bool(truncated)
        except Exception as error:
            raise self._failure(error, "step", i) from error

    def _checked(self, obs: Any, phase: Phase) -> Any:
        """NumPy would broadcast a wrong shape, and cut fractions off, without a word."""
        problem = problem_with(self._raw_space, obs)
        if problem is not None:
            raise ValueError(f"{phase}() returned an observation {problem}")
        return obs

    def _transformed(self, raw: Any, phase: Phase) -> np.ndarray:
        obs = self._preprocessor.transform(raw)
        try:
            check_numbers(obs, phase)
            if phase not in self._tried:
                self._tried.add(phase)
                check_bounds(obs, self.observation_space, phase)
        except WrongNumber as error:
            raise self._failure(error, phase, error.env_index) from error
        return obs

    def _reset_in_place(self, obs: np.ndarray, envs: np.ndarray) -> np.ndarray:
        raw = self._empty(len(envs))
        for position, i in enumerate(envs.tolist()):
            raw[position] = self._reset_one(i, None)
        obs[envs] = self._preprocessor.transform(raw)
        return obs

    def _failure(self, error: Exception, phase: Phase, i: int) -> EnvironmentFailure:
        return failure(error, phase, self.contexts[i].worker_index, i)


def _check_spaces(env: gym.Env[Any, Any]) -> None:
    for name in ("observation_space", "action_space"):
        space = getattr(env, name, None)
        if not isinstance(space, gym.Space):
            said = "has none" if space is None else f"has {space!r}"
            raise TypeError(f"{name} must be a gymnasium.spaces.Space: {type(env).__name__} {said}")


def _way_out(env: Any) -> str:
    """What to do with one of another kind."""
    if isinstance(env, MultiAgentEnv):
        return ": say .multi_agent(policies=...)"
    if isinstance(env, gym.vector.VectorEnv):
        return ": register an id with it as vector_entry_point, and as entry_point a single one"
    return ""
