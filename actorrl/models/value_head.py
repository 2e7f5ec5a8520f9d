"""The head that predicts state values, in a unit that grows with the returns.

N rows in any order, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actorrl.models.networks import linear

_RATE = 0.01  # of the moving mean, per update


class ValueHead(nn.Module):
    """features [N, F] -> values [N]: a linear layer times `unit`, the root mean square of the value
    targets, or 1 where they are smaller.

    Values of 100 are out of reach of a layer that moves by a thousandth per step: it takes so long
    that the features behind it saturate, and the value function stays a constant. In units of the
    targets they are numbers like 1. When the unit changes, the layer is rescaled, so that no value
    does: PopArt (van Hasselt et al. 2016; with IMPALA Hessel et al. 2019) without its shift.

    `unit` [1] is a parameter without a gradient: it travels with the weights, and optimizers leave
    it alone. Only `adapt` changes it.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.linear = linear(num_features, 1, 1.0)
        self.unit = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        values: Tensor = self.linear(features).squeeze(-1) * self.unit
        return values

    @torch.no_grad()
    def adapt(self, mean_square: Tensor) -> None:
        """After an update whose value targets had this mean square, a scalar."""
        before = self.unit.clone()
        self.unit.copy_(before.square().lerp(mean_square, _RATE).sqrt().clamp(min=1.0))
        for parameter in self.linear.parameters():
            parameter.mul_(before / self.unit)
