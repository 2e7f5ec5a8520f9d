"""An action distribution of one's own, in the place of the action space's usual one.

python -m actorrl.examples.custom_action_distribution
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from actorrl import ModelCatalog
from actorrl.examples import custom_environment
from actorrl.models.action_distribution import ActionDistribution

SLIP = 0.05


class Slippery(ActionDistribution):
    """Of two actions one by a logit, but never surer than 95 %: what is learned stays random
    enough to go on exploring. RLlib's methods, and its way to say how many outputs it takes."""

    @staticmethod
    def required_model_output_shape(action_space: Any, model_config: Any) -> int:
        return 1

    def __init__(self, inputs: Tensor, model: Any = None) -> None:
        """`inputs` [..., 1]: the logit of action 1."""
        super().__init__(inputs, model)
        self.p = SLIP + (1 - 2 * SLIP) * torch.sigmoid(inputs[..., 0])  # of action 1, [...]

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        draw = torch.rand(self.p.shape, generator=generator)
        return (draw < self.p).long()

    def mode(self) -> Tensor:
        return (self.p > 0.5).long()

    def logp(self, actions: Tensor) -> Tensor:
        return torch.where(actions == 1, self.p, 1 - self.p).log()

    def entropy(self) -> Tensor:
        return -(self.p * self.p.log() + (1 - self.p) * (1 - self.p).log())

    def kl(self, other: Slippery) -> Tensor:
        odds = (1 - self.p) * ((1 - self.p) / (1 - other.p)).log()
        return self.p * (self.p / other.p).log() + odds


def train(iterations: int = 6, results: Any = None) -> float:
    """The mean return at the end; one step in twenty slips, so .5 is out of reach."""
    ModelCatalog.register_custom_action_dist("slippery", Slippery)
    model = {"custom_action_dist": "slippery", "fcnet_hiddens": [16]}
    return custom_environment.train(iterations, results, model=model)


if __name__ == "__main__":
    train()
