"""An environment's own vectoriser, where its registration names one (CartPole's does)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv

from actorrl.envs.failure import failure
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import Autoreset, StepResult


class NativeVector:
    """A Gymnasium vector environment in NEXT_STEP mode. One seed serves all of its environments."""

    frame_stack = 1
    num_recreated = 0
    last_failure = ""
    autoreset: Autoreset = "next_step"

    def __init__(self, env: VectorEnv, worker_index: int, *, seed: int | None = None) -> None:
        self.env = env
        self.num_envs = env.num_envs
        self._worker_index = worker_index
        self._seed = seed
        self._preprocessor = preprocessor_for(self.env.single_observation_space)
        self.observation_space = self._preprocessor.space
        self.action_space = self.env.single_action_space

    def reset(self, seed: int | None = None) -> np.ndarray:
        try:
            obs, _ = self.env.reset(seed=self._seed if seed is None else seed)
        except Exception as error:
            raise failure(error, "reset", self._worker_index, None) from error
        self._seed = None
        return self._preprocessor.transform(obs).copy()

    def step(self, actions: np.ndarray, out: np.ndarray | None = None) -> StepResult:
        try:
            obs, rewards, terminateds, truncateds, _ = self.env.step(actions)
        except Exception as error:
            raise failure(error, "step", self._worker_index, None) from error
        # Copies: a vectoriser may go on writing to the arrays that it returned.
        found = self._preprocessor.transform(obs)
        if out is None:
            out = np.empty_like(found)
        np.copyto(out, found)
        return StepResult(
            out,
            np.array(rewards, np.float32),
            np.array(terminateds, np.bool_),
            np.array(truncateds, np.bool_),
        )

    def close(self) -> None:
        self.env.close()


def make_native(
    spec: EnvSpec, contexts: Sequence[EnvContext], *, seed: int | None = None
) -> NativeVector | None:
    """None where its vectoriser does otherwise than we step: it resets in another mode, or its
    observations and actions are no arrays."""
    worker = contexts[0].worker_index
    try:
        env = gym.make_vec(
            spec,
            num_envs=len(contexts),
            # Never left to Gymnasium: its choice differs from environment to environment.
            vectorization_mode="vector_entry_point",
            **contexts[0],
        )
    except Exception as error:
        raise failure(error, "make", worker, None) from error
    spaces = (env.single_observation_space, env.single_action_space)
    if env.metadata.get("autoreset_mode") is AutoresetMode.NEXT_STEP and all(
        space.shape is not None for space in spaces
    ):
        return NativeVector(env, worker, seed=seed)
    env.close()
    return None


def native_entry_point(spec: EnvSpec, env_config: Mapping[str, Any]) -> bool:
    """Has the environment a vectoriser that takes these settings?"""
    entry_point = spec.vector_entry_point
    if entry_point is None or spec.additional_wrappers or spec.namespace is not None:
        return False
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    return set(env_config) <= set(inspect.signature(creator).parameters) - {"num_envs"}
