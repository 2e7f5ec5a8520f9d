"""Observations as arrays that a network takes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from gymnasium import spaces


class Preprocessor(Protocol):
    """Turns B raw observations into an array [B, ...] of `space`."""

    space: spaces.Box[Any]

    def transform(self, obs: Any) -> np.ndarray: ...


class Unchanged:
    """Boxes as they are, but float64 as float32: networks compute in it, and less travels."""

    def __init__(self, space: spaces.Box) -> None:
        self.space = space
        if space.dtype == np.float64:
            with np.errstate(over="ignore"):  # bounds beyond float32 become infinite
                low, high = space.low.astype(np.float32), space.high.astype(np.float32)
            self.space = spaces.Box(low, high, dtype=np.float32)

    def transform(self, obs: Any) -> np.ndarray:
        return np.asarray(obs, self.space.dtype)


class OneHot:
    """Discrete(n) as float32 [B, n]."""

    def __init__(self, space: spaces.Discrete) -> None:
        self.space: spaces.Box[Any] = spaces.Box(0.0, 1.0, (int(space.n),), np.float32)
        self._start = int(space.start)
        self._identity = np.eye(int(space.n), dtype=np.float32)

    def transform(self, obs: Any) -> np.ndarray:
        rows: np.ndarray = self._identity[np.asarray(obs, np.int64) - self._start]
        return rows


def preprocessor_for(space: spaces.Space[Any]) -> Preprocessor:
    """Raises ValueError, naming the space, where it is neither Box nor Discrete."""
    if isinstance(space, spaces.Box):
        return Unchanged(space)
    if isinstance(space, spaces.Discrete):
        return OneHot(space)
    raise ValueError(
        f"observations of the space {space} are not supported; Box and Discrete are, so wrap the "
        "environment, for example in gymnasium.wrappers.FlattenObservation"
    )
