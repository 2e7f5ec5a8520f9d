"""Exploration of deterministic policies: noise added to actions in [-1, 1].

B environments, K numbers of a flat action.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


_THETA = 0.15  # of Ornstein-Uhlenbeck noise, the share of the way back in a step (the paper's)


class Noise(Protocol):
    """What `act` adds to actions [B, K]; its scale may differ between environments."""

    def __call__(self, actions: Array, random: np.random.Generator) -> Array:
        """Noise [B, K] for these actions."""


class GaussianNoise:
    """Independent at every step (Fujimoto et al. 2018, TD3). `stddev` is one number or [B]."""

    def __init__(self, stddev: float | Array = 0.1) -> None:
        self._stddev = _scale(stddev)

    def __call__(self, actions: Array, random: np.random.Generator) -> Array:
        return self._stddev * random.standard_normal(actions.shape, dtype=np.float32)


class OUNoise:
    """Ornstein-Uhlenbeck: noise with inertia (Lillicrap et al. 2016, DDPG).

    x += theta (0 - x) + sigma N(0, 1), and x is added; sigma is one number or [B].
    It runs on over the ends of episodes, as RLlib's does.
    """

    def __init__(self, sigma: float | Array = 0.2) -> None:
        self._sigma = _scale(sigma)
        self._x: Array | None = None

    def __call__(self, actions: Array, random: np.random.Generator) -> Array:
        if self._x is None or self._x.shape != actions.shape:
            self._x = np.zeros(actions.shape, np.float32)
        kick = self._sigma * random.standard_normal(actions.shape, dtype=np.float32)
        self._x = (1.0 - _THETA) * self._x + kick
        return self._x


def _scale(value: float | Array) -> Array:
    """As a column [B or 1, 1]; raises ValueError where it is negative or no vector."""
    column = np.atleast_1d(np.asarray(value, np.float32))
    if column.ndim != 1 or not (column >= 0).all():
        raise ValueError(f"the scale of noise must be >= 0, one number or a vector, not {value!r}")
    return column[:, None]
