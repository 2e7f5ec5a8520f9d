"""PPO's loss (Schulman et al. 2017) and its rule for the weight of the KL term.

All tensors have one shape: [T, B] sequences, or [N] rows in any order. Losses are means over the
valid ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from actorrl.losses.policy_gradient import Loss, combine, mean_valid


def ppo_loss(
    *,
    logp: Tensor,
    old_logp: Tensor,
    entropy: Tensor,
    kl: Tensor,
    values: Tensor,
    old_values: Tensor,
    advantages: Tensor,
    value_targets: Tensor,
    valid: Tensor,
    clip_param: float,
    vf_clip_param: float | None,
    vf_loss_coeff: Tensor | float,
    entropy_coeff: float,
    kl_coeff: float,
) -> Loss:
    """Equations 7 to 9, with the KL penalty of section 4 added where `kl_coeff` is not 0.

    `kl` is KL(behaviour || learned). `vf_clip_param` keeps a value within that distance of the
    behaviour's and takes the larger one of the two errors, so that no step gains from more.
    """
    for tensor in (old_logp, entropy, kl, values, old_values, advantages, value_targets, valid):
        assert tensor.shape == logp.shape, (tensor.shape, logp.shape)
    # where: an invalid row may hold anything, and 0 * nan is nan.
    ratio = torch.where(valid, logp - old_logp, 0.0).exp()
    advantages = torch.where(valid, advantages, 0.0)
    clipped = ratio.clamp(1.0 - clip_param, 1.0 + clip_param)
    surrogate = mean_valid(-torch.minimum(ratio * advantages, clipped * advantages), valid)
    loss = combine(
        surrogate,
        mean_valid(_squared(values, old_values, value_targets, valid, vf_clip_param), valid),
        mean_valid(entropy, valid),
        vf_loss_coeff,
        entropy_coeff,
        {},
    )
    divergence = mean_valid(kl, valid)
    total = loss.total + kl_coeff * divergence if kl_coeff else loss.total
    named = {"total_loss": total.detach(), "kl": divergence.detach()}
    return Loss(total, {**loss.metrics, **named})


def _squared(
    values: Tensor, old_values: Tensor, targets: Tensor, valid: Tensor, limit: float | None
) -> Tensor:
    """1/2 (V - target)^2, elementwise."""
    errors = torch.where(valid, values - targets, 0.0).square()
    if limit is not None:
        near = old_values + (values - old_values).clamp(-limit, limit)
        errors = torch.maximum(errors, torch.where(valid, near - targets, 0.0).square())
    return 0.5 * errors


def adapted_kl_coeff(kl_coeff: float, kl: float, kl_target: float) -> float:
    """The weight for the next train batch after one with this mean KL (RLlib's rule): half as much
    again above twice the target, half below half of it."""
    if kl > 2.0 * kl_target:
        return 1.5 * kl_coeff
    if kl < 0.5 * kl_target:
        return 0.5 * kl_coeff
    return kl_coeff
