"""Lambda-returns and generalised advantages (Schulman et al. 2016), on the learner's device.

T rows in time, B environments.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from actorrl.losses.recursion import continuing, discounted_sums


class Returns(NamedTuple):
    advantages: Tensor  # [T, B]
    value_targets: Tensor  # [T, B], advantages + values


@torch.no_grad()
def lambda_returns(
    *,
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminateds: Tensor,
    truncateds: Tensor,
    valid: Tensor,
    gamma: float,
    lambda_: float = 1.0,
) -> Returns:
    """All arguments [T, B]. lambda_ = 1 gives n-step returns to the fragment's or episode's end.

    `next_values[t]` is V of the observation after row t, the final one where the episode ends.
    Termination takes no bootstrap, truncation does; the recursion crosses neither.
    """
    shape = rewards.shape
    assert len(shape) == 2
    for tensor in (values, next_values, terminateds, truncateds, valid):
        assert tensor.shape == shape, (tensor.shape, shape)
    bootstrap = torch.where(terminateds.bool(), 0.0, next_values)
    deltas = torch.where(valid, rewards + gamma * bootstrap - values, 0.0)
    decays = gamma * lambda_ * continuing(terminateds, truncateds, valid).to(rewards.dtype)
    advantages = discounted_sums(deltas, decays)
    return Returns(advantages, torch.where(valid, advantages + values, 0.0))
