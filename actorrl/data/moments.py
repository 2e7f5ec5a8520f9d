"""Mean and variance of observations, merged exactly over workers and rounds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Moments(NamedTuple):
    """Of `rows` rows: their mean, and the sum of squares around it, by element (float64)."""

    rows: float
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def none(cls, shape: tuple[int, ...]) -> Moments:
        return cls(0.0, np.zeros(shape), np.zeros(shape))

    def merged(self, other: Moments) -> Moments:
        """Chan et al. 1979: as if all rows had been seen together."""
        rows = self.rows + other.rows
        if rows == 0:
            return self
        difference = other.mean - self.mean
        mean = self.mean + difference * (other.rows / rows)
        spread = difference**2 * (self.rows * other.rows / rows)
        return Moments(rows, mean, self.squares + other.squares + spread)

    @property
    def stddev(self) -> np.ndarray:
        """1 where nothing is known yet, and where an element has never changed."""
        if self.rows < 2:
            return np.ones_like(self.mean)
        deviation = np.sqrt(self.squares / self.rows)
        return np.where(deviation > 1e-6, deviation, 1.0)


class RunningMoments:
    """Sums over batches of rows; around a `shift` near the mean, so that no digits are lost."""

    def __init__(self, shift: np.ndarray) -> None:
        self._shift = np.asarray(shift, np.float64)
        self._count = 0
        self._sum = np.zeros_like(self._shift)
        self._squares = np.zeros_like(self._shift)

    def add(self, rows: np.ndarray) -> None:
        """[N, ...]"""
        centred = rows - self._shift
        self._count += len(rows)
        self._sum += centred.sum(axis=0)
        self._squares += np.square(centred).sum(axis=0)

    def moments(self) -> Moments:
        if self._count == 0:
            return Moments.none(self._shift.shape)
        mean = self._sum / self._count
        return Moments(float(self._count), self._shift + mean, self._squares - self._sum * mean)
