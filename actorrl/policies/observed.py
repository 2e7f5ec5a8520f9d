"""What users hand over as observations to act on."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from actorrl.config import shown
from actorrl.errors import ConfigError


def numbers(obs_batch: Any, single: bool = False) -> np.ndarray:
    """[B, ...]; `single`: of one observation without a batch axis. Raises ConfigError for what is
    no array of numbers."""
    try:
        obs = np.asarray(obs_batch)
    except ValueError as error:  # rows of different shapes
        raise ConfigError(f"observations: {shown(obs_batch)} is no batch ({error})") from None
    obs = obs[None] if single else obs
    if obs.dtype.kind not in "biuf" or not obs.ndim:
        raise ConfigError(f"observations: {shown(obs_batch)} is no batch of numbers, expected one")
    return obs


def check_shape(space: Any, frame_stack: int, obs: np.ndarray) -> None:
    """Raises ConfigError unless these are observations [B, ...] of the space, after
    preprocessing."""
    if not isinstance(space, spaces.Box):
        return
    shape = space.shape if frame_stack == 1 else (frame_stack, *space.shape)
    if obs.shape[1:] != shape:
        wanted = ", ".join(map(str, ("B", *shape)))
        raise ConfigError(
            f"observations: those of shape {list(obs.shape)} are not accepted, expected [{wanted}]"
        )
