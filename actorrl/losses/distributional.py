"""Distributional Q-learning (Bellemare et al. 2017, "A distributional perspective", C51).

N rows, A actions, Z atoms, evenly spaced over the support.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def project(probabilities: Tensor, rewards_n: Tensor, discounts: Tensor, support: Tensor) -> Tensor:
    """The distribution of r + discount * return, brought back to the atoms, [N, Z].

    Algorithm 1 of the paper: each atom's mass goes to the two atoms beside its place, in proportion
    to how near they are; what lies outside goes to the ends. `probabilities [N, Z]` of the return
    from the bootstrap observation on; `discounts [N]` are 0 after a termination.
    """
    num_rows, num_atoms = probabilities.shape
    assert rewards_n.shape == discounts.shape == (num_rows,) and support.shape == (num_atoms,)
    low, spacing = support[0], support[1] - support[0]
    moved = rewards_n.unsqueeze(1) + discounts.unsqueeze(1) * support  # [N, Z]
    place = ((moved - low) / spacing).clamp(0, num_atoms - 1)  # in atoms
    # floor and the rest, not floor and ceil: on an atom exactly, floor = ceil would lose the mass.
    below = place.floor()
    share_above = place - below
    above = (below + 1).clamp(max=num_atoms - 1)
    projected = torch.zeros_like(probabilities)
    projected.scatter_add_(1, below.long(), probabilities * (1 - share_above))
    projected.scatter_add_(1, above.long(), probabilities * share_above)
    return projected


def categorical_td(
    logits_tm1: Tensor,
    actions: Tensor,
    rewards_n: Tensor,
    discounts: Tensor,
    q_next_chooser: Tensor,
    logits_next_target: Tensor,
    support: Tensor,
) -> Tensor:
    """KL(target || predicted distribution) of each row, [N], with gradient through `logits_tm1`.

    `logits_tm1`, `logits_next_target` [N, A, Z]; `q_next_chooser` [N, A] chooses the next action:
    the online network's values for double Q-learning, else the target network's. The divergence is
    the row's priority (Hessel et al. 2018, "Rainbow"); its gradient is the cross-entropy's.
    """
    num_rows = len(actions)
    assert logits_tm1.shape == logits_next_target.shape and logits_tm1.dim() == 3
    assert q_next_chooser.shape == logits_tm1.shape[:2] and rewards_n.shape == (num_rows,)
    rows = torch.arange(num_rows, device=actions.device)
    with torch.no_grad():
        following = logits_next_target[rows, q_next_chooser.argmax(dim=1)].softmax(dim=-1)
        target = project(following, rewards_n, discounts, support)
        negative_entropy = torch.xlogy(target, target).sum(dim=-1)
    predicted = functional.log_softmax(logits_tm1[rows, actions.long()], dim=-1)
    return negative_entropy - (target * predicted).sum(dim=-1)
