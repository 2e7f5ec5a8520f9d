"""Q-learning with an actor: DDPG, TD3 and SAC.

N rows, A discrete actions. Continuous ones are in [-1, 1]. Critics come as a tuple of tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from actorrl.losses.q_learning import huber


def smallest(values: Sequence[Tensor]) -> Tensor:
    """By element over the critics (Fujimoto et al. 2018: one is thought too high)."""
    least = values[0]
    for other in values[1:]:
        least = torch.minimum(least, other)
    return least


def bootstrapped(rewards_n: Tensor, discounts: Tensor, next_values: Tensor) -> Tensor:
    """r + discount * V(bootstrap observation), [N]; V is not looked at where the discount is 0."""
    assert rewards_n.shape == discounts.shape == next_values.shape and rewards_n.dim() == 1
    return rewards_n + torch.where(discounts == 0, 0.0, discounts * next_values)


def smoothed(actions: Tensor, noise: Tensor, clip: float) -> Tensor:
    """Target actions with clipped noise, within [-1, 1] (TD3: neighbours have a like value)."""
    return (actions + noise.clamp(-clip, clip)).clamp(-1.0, 1.0)


def critic_loss(
    values: Sequence[Tensor], targets: Tensor, weights: Tensor, huber_delta: float | None = None
) -> tuple[Tensor, Tensor]:
    """The sum over the critics of the mean of weight x (Q - target)^2 / 2, a scalar; and each row's
    |Q - target|, the mean over the critics, [N], without gradient. With `huber_delta` the square
    goes on as a line beyond that difference."""
    assert targets.shape == weights.shape and not targets.requires_grad
    total = torch.zeros((), device=targets.device)
    errors = torch.zeros_like(targets)
    for value in values:
        assert value.shape == targets.shape, (value.shape, targets.shape)
        difference = value - targets
        each = 0.5 * difference.square() if huber_delta is None else huber(difference, huber_delta)
        total = total + (weights * each).mean()
        errors += difference.detach().abs() / len(values)
    return total, errors


# ---- SAC ----------------------------------------------------------------------------------------


def soft_value(values: Sequence[Tensor], logp: Tensor, alpha: Tensor) -> Tensor:
    """V = min Q(s, a) - alpha log pi(a|s) of sampled actions, [N] (Haarnoja et al. 2018)."""
    return smallest(values) - alpha * logp


def soft_value_discrete(values: Sequence[Tensor], logits: Tensor, alpha: Tensor) -> Tensor:
    """V = sum over a of pi(a|s) (min Q(s, a) - alpha log pi(a|s)), [N] (Christodoulou 2019)."""
    logp = torch.log_softmax(logits, dim=-1)
    return (logp.exp() * (smallest(values) - alpha * logp)).sum(-1)


def soft_actor_loss(values: Sequence[Tensor], logp: Tensor, alpha: Tensor) -> Tensor:
    """Mean of alpha log pi(a|s) - min Q(s, a), a scalar; gradients flow through a and log pi."""
    return -soft_value(values, logp, alpha).mean()


def soft_actor_loss_discrete(values: Sequence[Tensor], logits: Tensor, alpha: Tensor) -> Tensor:
    """The same as an exact sum over the actions; the critics are constants."""
    return -soft_value_discrete([value.detach() for value in values], logits, alpha).mean()


def entropy_discrete(logits: Tensor) -> Tensor:
    """In nats, [N]."""
    logp = torch.log_softmax(logits, dim=-1)
    return -(logp.exp() * logp).sum(-1)


def temperature_loss(log_alpha: Tensor, entropy: Tensor, target_entropy: float) -> Tensor:
    """log alpha x (entropy - target), a scalar: alpha rises while the policy is too certain.

    `entropy` is that of the policy over the batch, -log pi of the sampled actions or exact, [N].
    """
    return (log_alpha * (entropy.detach().mean() - target_entropy)).sum()
