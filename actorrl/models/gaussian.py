"""Gaussian distributions with independent elements, plain and squashed by tanh.

K elements on the last axis; the leading axes [...] are free. The network's outputs [..., 2K] are
means, then logarithms of standard deviations. Torch functions serve learners, NumPy ones acting.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Float32 = NDArray[np.float32]

LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0  # of squashed ones: beyond, tanh saturates (Haarnoja 2018)
_LARGEST_SQUASHED = 1.0 - 1e-6  # atanh(1) is infinite; float32 has nothing nearer of use


def log_prob(inputs: Tensor, x: Tensor) -> Tensor:
    """log N(x; mean, std) summed over elements, [..., 2K] and [..., K] -> [...]."""
    mean, log_std = inputs.chunk(2, dim=-1)
    assert mean.shape == x.shape, (mean.shape, x.shape)
    z = (x - mean) * torch.exp(-log_std)
    return (-0.5 * z.square() - log_std - LOG_SQRT_2PI).sum(-1)


def entropy(inputs: Tensor) -> Tensor:
    """In nats, [..., 2K] -> [...]."""
    log_std = inputs.chunk(2, dim=-1)[1]
    return (log_std + 0.5 + LOG_SQRT_2PI).sum(-1)


def kl(inputs: Tensor, other: Tensor) -> Tensor:
    """KL(p || q), [..., 2K] each -> [...], in nats."""
    assert inputs.shape == other.shape
    mean, log_std = inputs.chunk(2, dim=-1)
    other_mean, other_log_std = other.chunk(2, dim=-1)
    spread = torch.exp(2.0 * (log_std - other_log_std))
    distance = ((mean - other_mean) * torch.exp(-other_log_std)).square()
    return (other_log_std - log_std + 0.5 * (spread + distance - 1.0)).sum(-1)


def sample(inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """x [..., K]; gradients flow into mean and deviation."""
    mean, log_std = inputs.chunk(2, dim=-1)
    return mean + log_std.exp() * torch.empty_like(mean).normal_(generator=generator)


def log_prob_numpy(inputs: Float32, x: Float32) -> Float32:
    """[B, 2K] and [B, K] -> [B] float32."""
    mean, log_std = np.split(inputs, 2, axis=1)
    z = (x - mean) * np.exp(-log_std)
    logp: Float32 = np.add.reduce(-0.5 * z * z - log_std - np.float32(LOG_SQRT_2PI), axis=1)
    return logp


def sample_numpy(
    inputs: Float32, random: np.random.Generator, greedy: bool = False
) -> tuple[Float32, Float32]:
    """[B, 2K] -> x [B, K] and its log-probabilities [B]; greedy takes the mean."""
    mean, log_std = np.split(inputs, 2, axis=1)
    z = np.zeros(mean.shape, np.float32)
    if not greedy:
        random.standard_normal(out=z, dtype=np.float32)
    logp = np.add.reduce(-0.5 * z * z - log_std - np.float32(LOG_SQRT_2PI), axis=1)
    x: Float32 = np.asarray(mean + np.exp(log_std) * z, np.float32)
    return x, logp


# ---- squashed ---------------------------------------------------------------------------------


def clamp_log_std(inputs: Tensor) -> Tensor:
    """Outputs [..., 2K] with log-deviations within bounds; call it once, right after the head."""
    mean, log_std = inputs.chunk(2, dim=-1)
    return torch.cat([mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)], dim=-1)


def log_tanh_slope(u: Tensor) -> Tensor:
    """log(1 - tanh(u)^2) by element, exact also where tanh(u) rounds to 1."""
    return 2.0 * (math.log(2.0) - u - functional.softplus(-2.0 * u))


def squashed_log_prob(inputs: Tensor, u: Tensor) -> Tensor:
    """Log-density of the action tanh(u), given u before squashing, [..., 2K], [..., K] -> [...]."""
    return log_prob(inputs, u) - log_tanh_slope(u).sum(-1)


def unsquash(actions: Tensor) -> Tensor:
    """u of stored actions tanh(u); at the very ends the largest u that float32 tells apart."""
    return torch.atanh(actions.clamp(-_LARGEST_SQUASHED, _LARGEST_SQUASHED))


def squashed_sample(
    inputs: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Actions [..., K] in (-1, 1) and their log-probabilities [...], both with gradient."""
    u = sample(inputs, generator)
    return torch.tanh(u), squashed_log_prob(inputs, u)


def squashed_sample_numpy(
    inputs: Float32, random: np.random.Generator, greedy: bool = False
) -> tuple[Float32, Float32]:
    """[B, 2K] -> actions [B, K] and log-probabilities [B]; greedy takes tanh(mean).

    The log-probability is that of the action as it is stored: `unsquash` of a float32 action near
    the ends loses digits, and a learner can only start from what is stored.
    """
    u, _ = sample_numpy(inputs, random, greedy)
    actions = np.tanh(u)
    return actions, squashed_log_prob_numpy(inputs, actions)


def squashed_log_prob_numpy(inputs: Float32, actions: Float32) -> Float32:
    """Log-density of stored actions [B, K], [B]."""
    limit = np.float32(_LARGEST_SQUASHED)
    u = np.arctanh(np.clip(actions, -limit, limit))
    slope = 2.0 * (np.float32(math.log(2.0)) - u - np.logaddexp(np.float32(0.0), -2.0 * u))
    logp: Float32 = log_prob_numpy(inputs, u) - np.add.reduce(slope, axis=1)
    return logp
