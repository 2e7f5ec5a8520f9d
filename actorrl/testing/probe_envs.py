"""Environments with answers known by hand, named as `actorrl.testing.probe_envs:NAME`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

Reset = tuple[np.ndarray, dict[str, Any]]
Step = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class ConstantReward(gym.Env[np.ndarray, Any]):
    """A constant observation and reward 1, ended after `limit` steps. Actions do nothing.

    A network cannot tell the steps apart, so it learns one value v. With gamma .9 and limit 10:
    under truncation v = 1 + .9 v, so v = 10. Under termination the mean over the ten steps of the
    one-step target gives v = 1 + .9 (9/10) v, so v = 1/.19 = 5.26.
    """

    def __init__(self, limit: int = 10, truncate: bool = True) -> None:
        self.limit = limit
        self.truncate = truncate
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self._steps = 0
        return self._obs(), {}

    def step(self, action: int) -> Step:
        self._steps += 1
        ended = self._steps >= self.limit
        return self._obs(), 1.0, ended and not self.truncate, ended and self.truncate, {}

    def _obs(self) -> np.ndarray:
        return np.ones(2, np.float32)


class Chain(gym.Env[np.ndarray, Any]):
    """`n` states in a row, one-hot; every action moves on, the last step gives 1 and terminates.

    With gamma .5 and n = 5 the values are 1/16, 1/8, 1/4, 1/2, 1. The observation after the end
    is all zeros.
    """

    def __init__(self, n: int = 5) -> None:
        self.n = n
        self.observation_space = spaces.Box(0.0, 1.0, (n,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._state = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self._state = 0
        return self._obs(), {}

    def step(self, action: int) -> Step:
        self._state += 1
        ended = self._state >= self.n
        return self._obs(), float(ended), ended, False, {}

    def _obs(self) -> np.ndarray:
        return (np.arange(self.n) == self._state).astype(np.float32)


class CountingEnv(gym.Env[np.ndarray, Any]):
    """Says in each observation where it is: [environment, episode, step], to find what leaks.

    The reward of the step that leads to observation [e, p, s] is `reward_of(e, p, s)`, a number of
    its own. Lengths are uniform in 1..max_length and half of the ends are truncations, drawn from
    the seed; or `lengths` repeats a given list, negative for a truncation. With `frames` the
    observation is a uint8 frame [2, 3] that holds the same three numbers modulo 256.
    """

    def __init__(self, env_config: dict[str, Any] | None = None) -> None:
        config = dict(env_config or {})
        self.env_number = int(getattr(env_config, "vector_index", 0))
        self.max_length = int(config.get("max_length", 7))
        self.lengths: list[int] | None = config.get("lengths")
        self.frames = bool(config.get("frames", False))
        if self.frames:
            self.observation_space = spaces.Box(0, 255, (2, 3), np.uint8)
        else:
            self.observation_space = spaces.Box(0.0, np.inf, (3,), np.float32)
        self.action_space = spaces.Discrete(3)
        self._episode = -1
        self._step = 0
        self._length = 1
        self._truncate = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self._episode = 0 if seed is not None else self._episode + 1
        self._step = 0
        self._draw_length()
        return self._obs(), {}

    def step(self, action: int) -> Step:
        assert self._step < self._length, "stepped after its end"
        self._step += 1
        ended = self._step == self._length
        reward = reward_of(self.env_number, self._episode, self._step)
        return self._obs(), reward, ended and not self._truncate, ended and self._truncate, {}

    def _draw_length(self) -> None:
        if self.lengths:
            signed = self.lengths[self._episode % len(self.lengths)]
            self._length, self._truncate = abs(signed), signed < 0
        else:
            self._length = int(self.np_random.integers(1, self.max_length + 1))
            self._truncate = bool(self.np_random.integers(2))

    def _obs(self) -> np.ndarray:
        place = np.array([self.env_number, self._episode, self._step])
        if self.frames:
            return np.tile(place % 256, (2, 1)).astype(np.uint8)
        return place.astype(np.float32)


def reward_of(env_number: int, episode: int, step: int) -> float:
    """The reward of `CountingEnv` for arriving at this observation; small, and exact in float32."""
    return 1.0 + (env_number * 31 + episode * 17 + step * 5) % 64 / 8


class MemoryCue(gym.Env[np.ndarray, Any]):
    """Shows one of two cues at its first step only; `delay` steps later, the action must name it.

    Reward 1 for the right action at the last step, else 0, then termination. Without memory the
    best mean return is .5, with memory 1. Observation: [cue 0, cue 1, asked now].
    """

    def __init__(self, delay: int = 3) -> None:
        self.delay = delay
        self.observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._cue = 0
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self._cue = int(self.np_random.integers(2))
        self._step = 0
        return self._obs(), {}

    def step(self, action: int) -> Step:
        asked = self._step == self.delay
        reward = float(asked and action == self._cue)
        self._step += 1
        return self._obs(), reward, asked, False, {}

    def _obs(self) -> np.ndarray:
        obs = np.zeros(3, np.float32)
        if self._step == 0:
            obs[self._cue] = 1.0
        if self._step == self.delay:
            obs[2] = 1.0
        return obs


class AliasedCorridor(gym.Env[np.ndarray, Any]):
    """Three states that look alike, left to right, and the goal behind them; every step costs 1.

    In the second state the actions are exchanged. Always left or always right never arrives; going
    right with probability .59 costs 11.6 on average, the best that a policy without memory can do
    (Sutton and Barto 2018, example 13.1). Truncated after `limit` steps.
    """

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = spaces.Discrete(2)  # left, right
        self._place = self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Reset:
        super().reset(seed=seed)
        self._place = self._steps = 0
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> Step:
        self._steps += 1
        right = bool(action) != (self._place == 1)
        self._place = max(0, self._place + (1 if right else -1))
        arrived = self._place == 3
        out_of_time = self._steps >= self.limit and not arrived
        return np.ones(1, np.float32), -1.0, arrived, out_of_time, {}


class CartPoleWithoutVelocities(gym.ObservationWrapper[np.ndarray, Any, np.ndarray]):
    """CartPole-v1 that shows positions only: without memory, about 50 of its 500 are reached."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))
        shown = self.env.observation_space
        assert isinstance(shown, spaces.Box)
        self.observation_space = spaces.Box(shown.low[::2], shown.high[::2], dtype=np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation[::2]
