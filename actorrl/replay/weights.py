"""Importance weights over all shards: Schaul et al. 2016, section 3.4.

A shard knows the probability of a row within itself; the weight needs the one within all shards,
and is divided by the largest weight that any row of any shard could have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Mass(NamedTuple):
    """What one shard reports: the sum of its rows' masses, their number, the smallest mass."""

    total: float
    num_rows: int
    smallest: float = float("inf")


def combine(masses: list[Mass]) -> Mass:
    """The mass of all shards as if they were one."""
    return Mass(
        total=sum(mass.total for mass in masses),
        num_rows=sum(mass.num_rows for mass in masses),
        smallest=min((mass.smallest for mass in masses), default=float("inf")),
    )


def importance_weights(
    probabilities: np.ndarray, shard_mass: float, everything: Mass, beta: float
) -> np.ndarray:
    """Weights [N] float32 of rows sampled from one shard with `probabilities` [N].

    With P = mass / everything.total and n = everything.num_rows, the weight is (n P)^-beta over the
    largest one, (n P_min)^-beta: total and n cancel out. The reported minimum may be older than the
    batch, hence the batch's own minimum counts, too, and no weight is above 1.
    """
    masses = np.asarray(probabilities, np.float64) * shard_mass
    smallest = min(everything.smallest, float(masses.min(initial=np.inf)))
    return ((smallest / masses) ** beta).astype(np.float32)
