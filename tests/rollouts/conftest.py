"""A policy whose outputs follow from what it was shown; vectors of counting environments."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from actorrl.envs.python_vector import PythonVector
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import make_vector
from actorrl.rollouts.collector import Collector
from actorrl.testing.probe_envs import ConstantReward, CountingEnv


def q_values_of(obs: np.ndarray) -> np.ndarray:
    """[..., 2] values that tell observations apart."""
    first = obs.astype(np.float64).sum(axis=tuple(range(1, obs.ndim))) * 0.125
    return np.stack([first, first * -0.5 + 1.0], axis=1).astype(np.float32)


class ShownPolicy:
    """Counts, in its recurrent state, the decisions since the state was zero."""

    version = 7

    def __init__(self, recurrent: bool = True, with_q_values: bool = False) -> None:
        self.recurrent = recurrent
        self.with_q_values = with_q_values
        self.shown: list[np.ndarray] = []

    def initial_state(self, num_envs: int) -> tuple[np.ndarray, ...]:
        return (np.zeros((num_envs, 2), np.float32),) if self.recurrent else ()

    def act(self, obs: np.ndarray, state: tuple[np.ndarray, ...], explore: bool) -> SimpleNamespace:
        self.shown.append(obs.copy())
        extras = {}
        if self.recurrent:
            extras["count"] = state[0][:, 0].copy()
        if self.with_q_values:
            extras["q_values"] = q_values_of(obs)
        actions = obs.reshape(len(obs), -1).astype(np.int64).sum(axis=1) % 2
        state = tuple(part + 1 for part in state)
        return SimpleNamespace(actions=actions, extras=extras, state=state)

    def env_actions(self, actions: np.ndarray) -> np.ndarray:
        return actions


def counting_vector(
    lengths: list[list[int]], autoreset: str, frames: bool = False, frame_stack: int = 1
) -> PythonVector:
    """One environment per list of signed lengths (negative: truncated)."""

    def creator(context: EnvContext) -> CountingEnv:
        env = CountingEnv(context)
        env.lengths = lengths[context.vector_index]
        return env

    contexts = [EnvContext({"frames": frames}, 1, i) for i in range(len(lengths))]
    return PythonVector(creator, contexts, autoreset=autoreset, frame_stack=frame_stack)


@pytest.fixture
def make_policy() -> type[ShownPolicy]:
    return ShownPolicy


@pytest.fixture
def make_collector() -> Callable[..., Collector]:
    def make(lengths, autoreset, rows, policy=None, frames=False, frame_stack=1):
        vector = counting_vector(lengths, autoreset, frames, frame_stack)
        return Collector(vector, policy or ShownPolicy(), rows, first_env_index=10)

    return make


@pytest.fixture
def q_of() -> Callable[[np.ndarray], np.ndarray]:
    return q_values_of


class Still:
    version = 0

    def initial_state(self, num_envs: int) -> tuple[np.ndarray, ...]:
        return ()

    def act(self, obs: np.ndarray, state: tuple[np.ndarray, ...], explore: bool) -> SimpleNamespace:
        return SimpleNamespace(actions=np.zeros(len(obs), np.int64), extras={}, state=())

    def env_actions(self, actions: np.ndarray) -> np.ndarray:
        return actions


def iterate_value(mode, truncate, rows, make_targets) -> float:
    """Repeat v <- mean target; all observations are equal, so the value function is one number.

    `make_targets(columns, v)` gives the sum of a fragment's targets and their number.
    """
    vector = make_vector(lambda _: ConstantReward(10, truncate), {}, 1, autoreset=mode)
    collector = Collector(vector, Still(), rows)
    # As many fragments as an episode has rows: each place in an episode comes equally often.
    period = 11 if mode == "next_step" else 10
    fragments = [collector.collect() for _ in range(period)]
    value = 0.0
    for _ in range(200):
        targets = [make_targets(fragment.columns, value) for fragment in fragments]
        total, count = (sum(part) for part in zip(*targets, strict=True))
        value = total / count
    return value


@pytest.fixture
def constant_reward_value() -> Callable[..., float]:
    return iterate_value
