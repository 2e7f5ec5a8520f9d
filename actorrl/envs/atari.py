"""Atari over ale-py's own vectoriser: 84 x 84 grey frames, one per decision, stored once.

Frames are stacked by us (the first one repeated, as Gymnasium does) and rewards are clipped by the
learner, so ale-py does neither. ale-py is GPL: an extra, imported only here and only when used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import gymnasium as gym
import numpy as np
from msgspec import Meta

from actorrl.config import Config, apply
from actorrl.envs.failure import failure
from actorrl.envs.python_vector import PythonVector
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import Autoreset, StepResult
from actorrl.errors import ConfigError


class AtariConfig(Config):
    """The keys of `env_config` for ALE/*-v5. None: as the environment is registered."""

    repeat_action_probability: (
        Annotated[float, Meta(ge=0, le=1, description="sticky actions; None: 0.25")] | None
    ) = None
    frameskip: (
        Annotated[
            int,
            Meta(ge=1, description="frames per decision; None: 4", extra={"unit": "frames"}),
        ]
        | None
    ) = None
    full_action_space: (
        Annotated[bool, Meta(description="all 18 actions; None: those that the game uses")] | None
    ) = None
    max_num_frames_per_episode: (
        Annotated[
            int, Meta(ge=1, description="truncation; None: 108,000", extra={"unit": "frames"})
        ]
        | None
    ) = None
    noop_max: Annotated[
        int, Meta(ge=0, description="idle at the start, at most", extra={"unit": "frames"})
    ] = 30
    episodic_life: Annotated[bool, Meta(description="end an episode with each life")] = False
    frame_stack: Annotated[
        int, Meta(ge=1, description="frames in an observation", extra={"unit": "frames"})
    ] = 4
    screen_size: Annotated[
        int, Meta(ge=1, description="each side of a frame", extra={"unit": "pixels"})
    ] = 84
    num_threads: Annotated[
        int, Meta(ge=1, description="of the vectoriser, per worker", extra={"unit": "threads"})
    ] = 1


class AtariVector:
    """B emulators in one vectoriser. Observations: uint8 [B, H, W], or [B, 1, H, W] if k = 1."""

    num_recreated = 0
    last_failure = ""

    def __init__(
        self,
        env_id: str,
        config: AtariConfig,
        num_envs: int,
        *,
        worker_index: int = 0,
        seed: int | None = None,
        autoreset: Autoreset = "next_step",
    ) -> None:
        from ale_py.vector_env import AtariVectorEnv
        from gymnasium.vector import AutoresetMode

        self.num_envs = num_envs
        self.autoreset: Autoreset = autoreset
        self.frame_stack = config.frame_stack
        self._worker_index = worker_index
        self._seed = seed
        mode = AutoresetMode.NEXT_STEP if autoreset == "next_step" else AutoresetMode.SAME_STEP
        settings = emulation(env_id, config)
        self.env = AtariVectorEnv(
            gym.spec(env_id).kwargs["game"],
            num_envs,
            num_threads=config.num_threads,
            autoreset_mode=mode,
            **settings._asdict(),
            noop_max=config.noop_max,
            episodic_life=config.episodic_life,
            img_height=config.screen_size,
            img_width=config.screen_size,
            grayscale=True,
            stack_num=1,
            reward_clipping=False,  # its default clips, and then nothing tells the true score
            use_fire_reset=False,
        )
        self.observation_space = frame_space(config)
        self.action_space: Any = self.env.single_action_space  # Discrete
        self.max_episode_steps = settings.max_num_frames_per_episode // settings.frameskip
        self._shape = (num_envs, *self.observation_space.shape)

    def reset(self, seed: int | None = None) -> np.ndarray:
        try:
            obs, _ = self.env.reset(seed=self._small(self._seed if seed is None else seed))
        except Exception as error:
            raise failure(error, "reset", self._worker_index, None) from error
        self._seed = None
        return np.array(obs).reshape(self._shape)

    def _small(self, seed: int | None) -> int | None:
        """The vectoriser counts environments on from the seed, in 31 bits."""
        return None if seed is None else seed % (2**31 - self.num_envs)

    def step(self, actions: np.ndarray, out: np.ndarray | None = None) -> StepResult:
        # ale-py waits for ever after an action that the game does not have.
        if actions.min() < 0 or actions.max() >= self.action_space.n:
            raise ValueError(f"actions {actions} are not all in 0..{self.action_space.n - 1}")
        try:
            obs, rewards, terminateds, truncateds, info = self.env.step(actions)
        except Exception as error:
            raise failure(error, "step", self._worker_index, None) from error
        obs = obs.reshape(self._shape)
        if out is not None:
            np.copyto(out, obs)
            obs = out
        result = StepResult(obs, rewards.astype(np.float32), terminateds, truncateds)
        if self.autoreset == "next_step":
            return result
        final_envs = np.flatnonzero(terminateds | truncateds)
        if not len(final_envs):
            return result
        final_obs = info["final_obs"].reshape(self._shape)[final_envs]
        return result._replace(final_obs=final_obs, final_envs=final_envs)

    def close(self) -> None:
        self.env.close()


def frame_space(config: AtariConfig) -> gym.spaces.Box:
    frame = (config.screen_size, config.screen_size)
    return gym.spaces.Box(0, 255, frame if config.frame_stack > 1 else (1, *frame), np.uint8)


class Emulation(NamedTuple):
    """The settings that the environment's registration decides where `env_config` does not."""

    repeat_action_probability: float
    frameskip: int
    full_action_space: bool
    max_num_frames_per_episode: int


def atari_config(env_config: Mapping[str, Any]) -> AtariConfig:
    """Raises ConfigError with a line `env_config.KEY: ...` for each mistake."""
    config = AtariConfig()
    errors = apply(config, env_config, "env_config.")
    if errors:
        raise ConfigError(errors)
    return config


def emulation(env_id: str, config: AtariConfig) -> Emulation:
    values = dict(_FALLBACK._asdict())
    for name in values:
        values[name] = gym.spec(env_id).kwargs.get(name, values[name])
        if getattr(config, name) is not None:
            values[name] = getattr(config, name)
    return Emulation(**values)


_FALLBACK = Emulation(0.25, 4, False, 108_000)


def make_atari_vector(
    env_id: str, contexts: Sequence[EnvContext], *, seed: int | None, autoreset: Autoreset
) -> AtariVector:
    """ale-py's vectoriser for a registered id."""
    return AtariVector(
        env_id,
        atari_config(contexts[0]),
        len(contexts),
        worker_index=contexts[0].worker_index,
        seed=seed,
        autoreset=autoreset,
    )


def make_atari_python(
    env_id: str,
    contexts: Sequence[EnvContext],
    *,
    seed: int | None,
    autoreset: Autoreset,
    recreate_failed: bool = False,
) -> PythonVector:
    """The same frames from our own loop over Gymnasium's wrapper; needs OpenCV."""
    config = atari_config(contexts[0])
    return PythonVector(
        lambda context: single_atari(env_id, config, context.render_mode),
        contexts,
        seed=seed,
        autoreset=autoreset,
        frame_stack=config.frame_stack,
        recreate_failed=recreate_failed,
    )


def single_atari(
    env_id: str, config: AtariConfig, render_mode: str | None = None
) -> gym.Env[Any, Any]:
    """One emulator behind `AtariPreprocessing`, with single frames as observations."""
    settings = emulation(env_id, config)
    made = {**settings._replace(frameskip=1)._asdict(), "render_mode": render_mode}
    env = gym.make(env_id, disable_env_checker=True, **made)
    env = gym.wrappers.AtariPreprocessing(
        env,
        noop_max=config.noop_max,
        frame_skip=settings.frameskip,
        screen_size=config.screen_size,
        terminal_on_life_loss=config.episodic_life,
    )
    if config.frame_stack > 1:
        return env
    return gym.wrappers.ReshapeObservation(env, (1, config.screen_size, config.screen_size))
