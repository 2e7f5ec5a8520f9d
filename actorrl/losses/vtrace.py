"""V-trace (Espeholt et al. 2018, "IMPALA", section 4.1): targets from another policy's fragments.

T rows in time, B environments. mu is the behaviour policy, pi the one being learned.

    rho_t = min(rho_bar, pi/mu),  c_t = lambda min(c_bar, pi/mu)
    delta_t = rho_t (r_t + gamma V(x_t+1) - V(x_t))
    v_t = V(x_t) + delta_t + gamma c_t (v_t+1 - V(x_t+1))
    advantage_t = min(pg_rho_bar, pi/mu) (r_t + gamma v_t+1 - V(x_t))
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from actorrl.losses.recursion import continuing, discounted_sums


class VTrace(NamedTuple):
    """All [T, B], without gradient, zero where not valid."""

    vs: Tensor  # targets of the value function
    pg_advantages: Tensor  # weights of the policy gradient, pg_rho included
    rhos: Tensor  # pi/mu before clipping
    advantages: Tensor  # pg_advantages without pg_rho


@torch.no_grad()
def vtrace(
    *,
    behaviour_logp: Tensor,
    target_logp: Tensor,
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminateds: Tensor,
    truncateds: Tensor,
    valid: Tensor,
    gamma: float,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    pg_rho_bar: float = 1.0,
    lambda_: float = 1.0,
) -> VTrace:
    """All tensors [T, B]; `next_values[t]` is V of the observation after row t.

    At an episode's end that is the final observation. Termination takes no bootstrap, truncation
    does; what follows an end never enters what is before it.
    """
    shape = rewards.shape
    assert len(shape) == 2
    for tensor in (behaviour_logp, target_logp, values, next_values):
        assert tensor.shape == shape, (tensor.shape, shape)
    for flags in (terminateds, truncateds, valid):
        assert flags.shape == shape, (flags.shape, shape)
    # where, not multiplication: an invalid row may hold anything, and 0 * nan is nan.
    rhos = torch.where(valid, (target_logp - behaviour_logp).exp(), 0.0)
    values, rewards = torch.where(valid, values, 0.0), torch.where(valid, rewards, 0.0)
    next_values = torch.where(valid & ~terminateds.bool(), next_values, 0.0)
    deltas = rhos.clamp(max=rho_bar) * (rewards + gamma * next_values - values)
    goes_on = continuing(terminateds, truncateds, valid).to(rewards.dtype)
    corrections = discounted_sums(deltas, gamma * lambda_ * rhos.clamp(max=c_bar) * goes_on)
    # v_t+1 = V(x_t+1) + correction_t+1, where the episode goes on; else only the bootstrap.
    next_vs = next_values.clone()
    next_vs[:-1] += goes_on[:-1] * corrections[1:]
    advantages = torch.where(valid, rewards + gamma * next_vs - values, 0.0)
    pg_advantages = rhos.clamp(max=pg_rho_bar) * advantages
    return VTrace(values + corrections, pg_advantages, rhos, advantages)
