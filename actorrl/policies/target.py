"""A copy of a policy's network that follows it only when told to."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actorrl.models.flat_parameters import FlatParameters, Float32
from actorrl.policies.base import Policy


class TargetNetwork:
    """The target network of Mnih et al. 2015, and the slow copy of Lillicrap et al. 2016.

    `model` has the policy's architecture. It follows its policy to another device on `sync`. Its
    forwards build no graph where they are called through `no_grad` or the methods here.
    """

    def __init__(self, policy: Policy, model: nn.Module) -> None:
        self._policy = policy
        self.model = model.requires_grad_(False)
        self.flat = FlatParameters(model)
        self.sync()

    @torch.no_grad()
    def sync(self, tau: float = 1.0) -> None:
        """Move by the share `tau` towards the policy's weights; 1 takes them over."""
        self.flat.move(self._policy.device)
        online = self._policy.flat.vector
        if tau == 1.0:
            self.flat.vector.copy_(online)
        else:
            self.flat.vector.lerp_(online, tau)

    @torch.no_grad()
    def q_values(self, obs: Tensor) -> Tensor:
        """Q [N, A] of observations [N, ...], without gradient: of a network of action values."""
        q: Tensor = self.model(obs)
        return q

    def flat_weights(self) -> Float32:
        """A copy of the weights [P], for checkpoints."""
        return self.flat.numpy()

    def load_flat(self, values: Float32) -> None:
        self.flat.load(values)
