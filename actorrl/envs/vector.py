"""B environments that are stepped together: the protocol, and how one is made.

Letters: B environments, K episodes that ended in a step. NEXT_STEP and SAME_STEP are Gymnasium's
words. Under NEXT_STEP the step after an end ignores its action and returns the reset observation
with reward 0. Under SAME_STEP the step that ends an episode returns the reset observation already,
and the final one beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

import gymnasium as gym
import numpy as np

from actorrl.envs.registry import (
    EnvContext,
    EnvLike,
    OfSpec,
    import_plugin,
    make_env,
    registered,
)

Autoreset = Literal["next_step", "same_step"]


class StepResult(NamedTuple):
    """What a step returned. The environment never writes to these arrays again."""

    obs: np.ndarray  # [B, ...]; `out`, where that was given
    rewards: np.ndarray  # [B] float32, unclipped
    terminateds: np.ndarray  # [B] bool
    truncateds: np.ndarray  # [B] bool
    final_obs: np.ndarray | None = None  # SAME_STEP: [K, ...]; None under NEXT_STEP or if K = 0
    final_envs: np.ndarray | None = None  # SAME_STEP: [K] int64, whose they are
    # Environments that failed and were made anew, int64: their row is no transition, `obs` is the
    # first observation of the new one. Only under NEXT_STEP.
    broken_envs: np.ndarray | None = None


class VectorEnv(Protocol):
    """What the collector steps. Spaces are those of one environment, as the policy sees them.

    Methods raise EnvironmentFailure where the environment behind them fails.
    """

    @property
    def num_envs(self) -> int: ...
    @property
    def observation_space(self) -> gym.spaces.Box: ...
    @property
    def action_space(self) -> gym.Space[Any]: ...
    @property
    def autoreset(self) -> Autoreset: ...
    @property
    def num_recreated(self) -> int: ...  # environments that failed and were made anew
    @property
    def last_failure(self) -> str: ...  # why the last of them was
    @property
    def frame_stack(self) -> int: ...  # k > 1: observations are single frames, to be stacked by k

    def reset(self, seed: int | None = None) -> np.ndarray: ...  # without: seeded as when made

    def step(self, actions: Any, out: np.ndarray | None = None) -> StepResult:
        """One action for each of B environments; observations go to `out` [B, ...], if given."""

    def close(self) -> None: ...


def make_vector(
    env: EnvLike,
    env_config: Mapping[str, Any] | None,
    num_envs: int,
    *,
    worker_index: int = 0,
    num_workers: int | None = None,
    seed: int | None = None,
    autoreset: Autoreset | None = None,
    native: bool = True,
    recreate_failed: bool = False,
    render_mode: str | None = None,
) -> VectorEnv:
    """A vector of `num_envs` environments; `env` is what `registry.resolve` returned.

    The environment's own vectoriser is taken where it has one that does what is asked for; it is
    worth a factor of ten. `native=False` keeps to our own loop. `seed` is the first environment's,
    the others count on from it. `recreate_failed`: an environment that fails is made anew, alone;
    only our own loop can do that, under NEXT_STEP, and `render_mode`. Called by the worker in its
    own process; raises EnvironmentFailure.
    """
    native = native and not recreate_failed and render_mode is None
    from actorrl.envs.atari import make_atari_python, make_atari_vector
    from actorrl.envs.native_vector import make_native, native_entry_point
    from actorrl.envs.python_vector import PythonVector

    env_config = dict(env_config or {})
    contexts = [
        EnvContext(env_config, worker_index, i, False, num_workers, render_mode)
        for i in range(num_envs)
    ]
    is_id = isinstance(env, str) and registered(env) is None
    if is_id:
        assert isinstance(env, str)
        import_plugin(env)
        if env.startswith("ALE/"):
            mode = autoreset or "next_step"
            if native:
                return make_atari_vector(env, contexts, seed=seed, autoreset=mode)
            return make_atari_python(
                env, contexts, seed=seed, autoreset=mode, recreate_failed=recreate_failed
            )
    spec = env.spec if isinstance(env, OfSpec) else gym.spec(str(env)) if is_id else None
    if native and autoreset != "same_step" and spec and native_entry_point(spec, env_config):
        vector = make_native(spec, contexts, seed=seed)
        if vector is not None:
            return vector
    return PythonVector(
        lambda context: make_env(env, context),
        contexts,
        seed=seed,
        autoreset=autoreset or "next_step",
        recreate_failed=recreate_failed,
    )
