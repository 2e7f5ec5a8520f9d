"""Policy gradients with a learned value function: A2C, A3C, IMPALA.

T rows in time, B environments. Log-probabilities and entropies come from the policy's
`ActionDistribution`: the losses know no action space. Losses are means over valid rows, so that
learning rate and gradient clipping mean the same for batches of any size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from actorrl.losses.vtrace import VTrace, vtrace
from actorrl.models.group import ALONE, Group


class Loss(NamedTuple):
    total: Tensor  # scalar, to call `backward` on
    metrics: dict[str, Tensor]  # scalars without gradient


def mean_valid(x: Tensor, valid: Tensor) -> Tensor:
    """Mean over valid rows; without any it is 0."""
    assert x.shape == valid.shape, (x.shape, valid.shape)
    return torch.where(valid, x, 0.0).sum() / valid.sum().clamp(min=1)


def policy_gradient_loss(logp: Tensor, advantages: Tensor, valid: Tensor) -> Tensor:
    """-log pi(a) advantage over the valid rows, all [T, B]; advantages are constants."""
    assert logp.shape == advantages.shape
    constants = torch.where(valid, advantages.detach(), 0.0)  # 0 * nan would be a gradient of nan
    return mean_valid(-logp * constants, valid)


def value_loss(values: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """1/2 (V - target)^2 over the valid rows, all [T, B]; targets are constants."""
    assert values.shape == targets.shape
    errors = torch.where(valid, values - targets.detach(), 0.0)
    return mean_valid(0.5 * errors.square(), valid)


def a2c_loss(
    *,
    logp: Tensor,
    entropy: Tensor,
    values: Tensor,
    advantages: Tensor,
    value_targets: Tensor,
    valid: Tensor,
    vf_loss_coeff: Tensor | float = 0.5,
    entropy_coeff: float = 0.01,
    group: Group = ALONE,
) -> Loss:
    """Mnih et al. 2016, "Asynchronous methods"; all [T, B], `logp` is of the actions taken."""
    return combine(
        policy_gradient_loss(logp, advantages, valid),
        value_loss(values, value_targets, valid),
        mean_valid(entropy, valid),
        vf_loss_coeff,
        entropy_coeff,
        value_metrics(values, value_targets, valid, group),
    )


def impala_loss(
    *,
    logp: Tensor,
    entropy: Tensor,
    values: Tensor,
    next_values: Tensor,
    behaviour_logp: Tensor,
    rewards: Tensor,
    terminateds: Tensor,
    truncateds: Tensor,
    valid: Tensor,
    gamma: float,
    vf_loss_coeff: Tensor | float = 0.5,
    entropy_coeff: float = 0.01,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    pg_rho_bar: float = 1.0,
    lambda_: float = 1.0,
    group: Group = ALONE,
) -> Loss:
    """Espeholt et al. 2018, section 4.2; all [T, B], `logp` is of the actions taken.

    `values` are of the T observations acted on, `next_values` of those after them (see vtrace).
    """
    corrected = vtrace(
        behaviour_logp=behaviour_logp,
        target_logp=logp.detach(),
        rewards=rewards,
        values=values.detach(),
        next_values=next_values.detach(),
        terminateds=terminateds,
        truncateds=truncateds,
        valid=valid,
        gamma=gamma,
        rho_bar=rho_bar,
        c_bar=c_bar,
        pg_rho_bar=pg_rho_bar,
        lambda_=lambda_,
    )
    return combine(
        policy_gradient_loss(logp, corrected.pg_advantages, valid),
        value_loss(values, corrected.vs, valid),
        mean_valid(entropy, valid),
        vf_loss_coeff,
        entropy_coeff,
        {
            **value_metrics(values, corrected.vs, valid, group),
            **_ratio_metrics(corrected, valid, rho_bar),
        },
    )


def value_metrics(
    values: Tensor, targets: Tensor, valid: Tensor, group: Group = ALONE
) -> dict[str, Tensor]:
    """How well the targets are met, and how large they are: over the valid rows of all learners,
    scalars without gradient."""
    with torch.no_grad():
        count = valid.sum()
        both = torch.where(valid, torch.stack([targets, targets - values]), 0.0).flatten(1)
        means = group.mean(both.sum(1), count)  # [2], of the targets and of their errors
        apart = torch.where(valid.flatten(), both - means[:, None], 0.0)
        of_targets, of_errors = group.mean(apart.square().sum(1), count)  # variances
        return {
            # 1 is perfect, 0 is no better than a constant
            "vf_explained_var": 1.0 - of_errors / of_targets.clamp(min=1e-8),
            "vf_targets_rms": (of_targets + means[0].square()).sqrt(),
        }


def normalised(advantages: Tensor, valid: Tensor | None = None, group: Group = ALONE) -> Tensor:
    """Mean 0 and deviation 1 over the (valid) rows of a whole train batch, which several learners
    may share; 0 where not valid."""
    mean, deviation = group.moments(advantages if valid is None else advantages[valid])
    scaled = (advantages - mean) / deviation.clamp(min=1e-8)
    return scaled if valid is None else torch.where(valid, scaled, 0.0)


def _ratio_metrics(corrected: VTrace, valid: Tensor, rho_bar: float) -> dict[str, Tensor]:
    rhos, count = corrected.rhos, valid.sum().clamp(min=1)  # 0 where not valid
    return {
        "rho_mean": rhos.sum() / count,
        "rho_max": rhos.max(),
        "rho_clipped_share": (rhos > rho_bar).sum() / count,
    }


def combine(
    policy: Tensor,
    value: Tensor,
    entropy_: Tensor,
    vf_loss_coeff: Tensor | float,
    entropy_coeff: float,
    metrics: dict[str, Tensor],
) -> Loss:
    """The weighted sum, and its parts under RLlib's names."""
    total = policy + vf_loss_coeff * value - entropy_coeff * entropy_
    named = {"total_loss": total, "policy_loss": policy, "vf_loss": value, "entropy": entropy_}
    return Loss(total, {**{name: x.detach() for name, x in named.items()}, **metrics})
