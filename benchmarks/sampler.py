"""How fast does a worker sample, beside its environments alone?

One process, one thread, 8 environments: the collector with its policy, whose fragments are ready to
be sent, against the same vector of environments stepped with random actions; against environments
that cost nothing (what is left is ours); and against Gymnasium's own vector of processes, which
takes random actions and stores nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from actorrl.algorithms.impala import IMPALAConfig, make_policy
from actorrl.envs.check import check_env
from actorrl.envs.vector import StepResult, VectorEnv, make_vector
from actorrl.rollouts.collector import Collector
from benchmarks.harness.pairing import Case, Sample, Side, Window

_ENVS = 8
_ROWS = 50
_WINDOW_S = 2.0
_CARTPOLE, _PONG = "CartPole-v1", "ALE/Pong-v5"


def cases(peers: bool) -> list[Case]:
    return [
        _case("CartPole", _sampler(_CARTPOLE), _alone(_CARTPOLE)),
        _case("CartPole, free", _sampler(_CARTPOLE, Free), _sampler(_CARTPOLE)),
        _case("CartPole, AsyncVectorEnv", _sampler(_CARTPOLE), _of_gymnasium(_CARTPOLE)),
        _case("Pong", _sampler(_PONG), _alone(_PONG)),
        _case("Pong, free", _sampler(_PONG, Free), _sampler(_PONG)),
    ]


def _case(name: str, ours: Side, other: Side) -> Case:
    return Case(name, "env steps/s", ours, other)


class Free:
    """A vector of environments that returns what it has returned before."""

    def __init__(self, real: VectorEnv) -> None:
        self._real = real
        self._obs = real.reset(seed=0)
        self._zeros = np.zeros(real.num_envs, np.float32)
        self._never = np.zeros(real.num_envs, np.bool_)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def reset(self, seed: int | None = None) -> np.ndarray:
        return self._obs

    def step(self, actions: Any, out: np.ndarray | None = None) -> StepResult:
        obs = self._obs
        if out is not None:
            np.copyto(out, obs)
            obs = out
        return StepResult(obs, self._zeros, self._never, self._never)


def _counted(step: Callable[[], int]) -> Window:
    """Env steps per second of calling `step` for a window."""

    def window() -> Sample:
        started, steps = time.perf_counter(), 0
        while time.perf_counter() - started < _WINDOW_S:
            steps += step()
        return Sample(steps / (time.perf_counter() - started))

    return window


def _sampler(env: str, wrap: Callable[[VectorEnv], Any] = lambda vector: vector) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        torch.set_num_threads(1)
        info = check_env(env, {})
        vector = wrap(make_vector(info.env, {}, _ENVS, seed=1))
        policy = make_policy(IMPALAConfig(), info, 1, np.arange(_ENVS))
        collector = Collector(vector, policy, _ROWS)
        unread = IMPALAConfig.unread
        yield _counted(lambda: collector.collect(unread=unread).num_env_steps)
        vector.close()

    return Side("actorrl", opened)


def _stepped(vector: Any, actions: np.ndarray) -> int:
    """Take rows of actions, one after the other; the env steps."""
    for row in actions:
        vector.step(row)
    return actions.size


def _alone(env: str) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        vector = make_vector(check_env(env, {}).env, {}, _ENVS, seed=1)
        vector.reset()
        random = np.random.default_rng(0)
        size = int(vector.action_space.n)  # type: ignore[attr-defined]
        actions = random.integers(size, size=(_ROWS, _ENVS))

        yield _counted(lambda: _stepped(vector, actions))
        vector.close()

    return Side("environments alone", opened)


def _of_gymnasium(env: str) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        vector = gym.make_vec(env, num_envs=_ENVS, vectorization_mode="async")
        vector.reset(seed=0)
        actions = np.random.default_rng(0).integers(2, size=(_ROWS, _ENVS))

        yield _counted(lambda: _stepped(vector, actions))
        vector.close()

    return Side("AsyncVectorEnv", opened)
