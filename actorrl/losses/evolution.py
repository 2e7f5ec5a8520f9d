"""Steps of evolution strategies from returns of mirrored pairs. NumPy: nothing is differentiated.

n pairs; column 0 is the return with the noise added, column 1 with it subtracted.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def centered_ranks(returns: np.ndarray) -> np.ndarray:
    """Ranks of all returns together, in [-1/2, 1/2], [n, 2] -> [n, 2]; equal ones share a rank.

    Salimans et al. 2017, section 2.1: the step does not depend on the scale of rewards.
    """
    assert returns.ndim == 2 and returns.shape[1] == 2
    _, inverse, counts = np.unique(returns, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    middle = first + (counts - 1) / 2
    ranks: np.ndarray = middle[inverse.reshape(returns.shape)] / max(returns.size - 1, 1) - 0.5
    return ranks


def mirrored_gradient(
    scores: np.ndarray, noises: Iterable[np.ndarray], stddev: float
) -> np.ndarray:
    """Estimate of the gradient of the expected score, [P]: 1 / (2 n sigma) sum (F+ - F-) noise."""
    assert scores.ndim == 2 and scores.shape[1] == 2
    total: np.ndarray | float = 0.0
    for (plus, minus), noise in zip(scores, noises, strict=True):
        total = total + (plus - minus) * noise
    return np.asarray(total) / (2 * len(scores) * stddev)


def best_directions(returns: np.ndarray, count: int) -> np.ndarray:
    """Numbers [count] of the pairs whose better return is highest (Mania et al. 2018, ARS V1-t)."""
    order = np.argsort(-returns.max(axis=1), kind="stable")
    return np.sort(order[:count])


def ars_step(returns: np.ndarray, noises: Iterable[np.ndarray]) -> np.ndarray:
    """1 / (b sigma_R) sum (r+ - r-) noise over the b used pairs [b, 2]; Mania et al. 2018, (6).

    sigma_R is the standard deviation of these 2 b returns; where all are equal the step is 0.
    """
    deviation = float(returns.std())
    total: np.ndarray | float = 0.0
    for (plus, minus), noise in zip(returns, noises, strict=True):
        total = total + (plus - minus) * noise
    return np.asarray(total) / (len(returns) * (deviation if deviation > 0 else 1.0))
