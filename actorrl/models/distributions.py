"""Draws from categorical distributions over logits, without torch.distributions (50 us a call).

A actions on the last axis; the leading axes [...] are free. The NumPy functions serve acting; their
log-probabilities are the learner's (`Categorical`), by the same formula in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Float32 = NDArray[np.float32]

_SMALLEST = np.float32(1e-30)


def sample(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Actions [...] int64. p / Exp(1) is largest at each action with its probability."""
    race = torch.empty_like(logits).exponential_(generator=generator)
    return (torch.log_softmax(logits, dim=-1) - race.log()).argmax(-1)


def choose_numpy(
    logits: Float32, random: np.random.Generator, greedy: bool = False
) -> NDArray[np.int64]:
    """logits [B, A] -> actions [B]; greedy takes the mode."""
    if greedy:
        return logits.argmax(axis=1)
    race = random.standard_exponential(logits.shape, dtype=np.float32)
    # Exp(1) can be exactly 0 in float32, and would win the race even for a masked action.
    np.log(np.maximum(race, _SMALLEST, out=race), out=race)
    return np.subtract(logits, race, out=race).argmax(axis=1)


def log_prob_numpy(logits: Float32, actions: NDArray[Any]) -> Float32:
    """Log-probabilities [B] of actions [B] under logits [B, A]."""
    return log_softmax_numpy(logits)[np.arange(len(actions)), actions]


def log_softmax_numpy(logits: Float32) -> Float32:
    """[B, A] -> [B, A] float32."""
    shifted = logits - np.maximum.reduce(logits, axis=1, keepdims=True)
    normaliser = np.log(np.add.reduce(np.exp(shifted), axis=1, keepdims=True))
    return np.subtract(shifted, normaliser, out=shifted)


def sample_numpy(
    logits: Float32, random: np.random.Generator, greedy: bool = False
) -> tuple[NDArray[np.int64], Float32]:
    """logits [B, A] -> actions [B] int64 and their log-probabilities [B]; greedy takes the mode."""
    actions = choose_numpy(logits, random, greedy)
    return actions, log_prob_numpy(logits, actions)
