"""Action masks: the first elements of an observation, which say what actions are allowed.

N rows, n logits, M = n elements of a mask, above 0 where the action may be taken. A mask without
any allows all: many environments show one at an end, and a truncation bootstraps from there, where
MASKED is no action's value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.errors import ConfigError

# Finite: p log p of an action that is never taken must be 0, not NaN.
MASKED = -1e9


def mask_size(observation_space: Any, action_space: Any) -> int:
    """M, or 0 where observations carry no mask. Raises ConfigError where it does not fit."""
    size = int(getattr(observation_space, "mask_size", 0))
    if size == 0:
        return 0
    if isinstance(action_space, spaces.Discrete):
        wanted = int(action_space.n)
    elif isinstance(action_space, spaces.MultiDiscrete):
        wanted = int(action_space.nvec.sum())
    else:
        raise ConfigError(
            f"env: observations have an action_mask, but the action space is {action_space}, "
            "expected Discrete or MultiDiscrete"
        )
    if size != wanted:
        raise ConfigError(
            f"env: the action_mask has {size} elements, but the action space {action_space} needs "
            f"{wanted}, one for each choice"
        )
    return size


def unmasked(obs: Tensor, mask_size: int, body: nn.Module) -> Tensor:
    """Observations [N, ...] as a network's body takes them: without the mask, but for a user's own
    body."""
    return obs[:, mask_size:] if mask_size and not getattr(body, "sees_mask", False) else obs


def masked(logits: Tensor, obs: Tensor) -> Tensor:
    """Logits [N, n], those of forbidden actions MASKED; the mask leads obs [N, n + ...]."""
    allowed = obs[:, : logits.shape[1]] > 0
    return torch.where(allowed | ~allowed.any(dim=1, keepdim=True), logits, MASKED)


def masked_numpy(logits: NDArray[np.float32], obs: NDArray[Any]) -> NDArray[np.float32]:
    """The same in NumPy."""
    allowed = obs[:, : logits.shape[1]] > 0
    return np.where(allowed | ~allowed.any(axis=1, keepdims=True), logits, np.float32(MASKED))
