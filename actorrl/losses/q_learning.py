"""n-step double Q-learning with prioritised replay: DQN and Ape-X.

N rows, A actions. TD errors are target - Q, so that a positive one means "better than thought".
"""

from __future__ import annotations

import torch
from torch import Tensor


def double_q_td(
    q_tm1: Tensor,
    actions: Tensor,
    rewards_n: Tensor,
    discounts: Tensor,
    q_next_online: Tensor,
    q_next_target: Tensor,
    double: bool = True,
) -> Tensor:
    """TD errors [N], with gradient through q_tm1 only.

    Hasselt et al. 2016: the online network chooses the next action, the target network values it.
    `q_tm1 [N, A]` at the row's first observation, the other two at its bootstrap observation;
    `rewards_n` the discounted sum of the row's rewards, `discounts` the row's own gamma^k, 0 after
    a termination. `double=False` (Mnih et al. 2015) lets the target network choose too.
    """
    rows = (len(actions),)
    assert q_tm1.dim() == 2 and actions.shape == rewards_n.shape == discounts.shape == rows
    assert q_tm1.shape == q_next_online.shape == q_next_target.shape
    chosen = taken(q_tm1, actions)
    with torch.no_grad():
        chooser = q_next_online if double else q_next_target
        best = chooser.argmax(dim=1, keepdim=True)
        bootstrap = q_next_target.gather(1, best).squeeze(1)
        # where: behind a termination the bootstrap observation, and so its value, means nothing.
        target = rewards_n + torch.where(discounts == 0, 0.0, discounts * bootstrap)
    return target - chosen


def taken(q: Tensor, actions: Tensor) -> Tensor:
    """Q [N, A] of the actions [N], [N]."""
    return q.gather(1, actions.long().unsqueeze(1)).squeeze(1)


def huber(td: Tensor, delta: float = 1.0) -> Tensor:
    """1/2 td^2 up to |td| = delta, linear with slope delta beyond, elementwise."""
    size = td.abs()
    quadratic = size.clamp(max=delta)
    return quadratic * (size - 0.5 * quadratic)
