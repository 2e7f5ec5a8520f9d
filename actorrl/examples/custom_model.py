"""A network of one's own: a torch module with `forward` and `value_function`, RLlib's TorchModelV2.

python -m actorrl.examples.custom_model
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from actorrl import ModelCatalog, TorchModelV2
from actorrl.examples import custom_environment


class Waves(TorchModelV2, nn.Module):
    """Sees cosines of the place in the corridor (a Fourier basis), over which both heads are
    linear."""

    def __init__(
        self,
        obs_space: Any,
        action_space: Any,
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
        waves: int = 4,  # a setting of this model's own: `custom_model_config`
    ) -> None:
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.register_buffer("orders", torch.pi * torch.arange(waves))
        self.policy_head = nn.Linear(waves, num_outputs)
        self.value_head = nn.Linear(waves, 1)
        nn.init.zeros_(self.policy_head.weight)  # both actions alike at first
        self._features = torch.zeros(0)

    def forward(self, input_dict: Any, state: Any, seq_lens: Any) -> Any:
        """The outputs [N, num_outputs] that the action distribution is made of, and the state."""
        self._features = torch.cos(input_dict["obs"] * self.orders)  # [N, waves]
        return self.policy_head(self._features), state

    def value_function(self) -> Tensor:
        """The values [N] of what `forward` has seen last."""
        values: Tensor = self.value_head(self._features).squeeze(1)
        return values


def train(iterations: int = 6, results: Any = None) -> float:
    """The mean return at the end; straight on it is .5. Without a name the class itself will do:
    `{"custom_model": Waves}`."""
    ModelCatalog.register_custom_model("waves", Waves)
    model = {"custom_model": "waves", "custom_model_config": {"waves": 6}}
    return custom_environment.train(iterations, results, lr=0.03, model=model)


if __name__ == "__main__":
    train()
