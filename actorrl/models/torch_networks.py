"""The built-in network as a TorchModelV2, to be a part of users' own models, as RLlib's is.

class MyModel(TorchModelV2, nn.Module):
    def __init__(self, obs_space, action_space, num_outputs, model_config, name):
        ...
        self.inner = FullyConnectedNetwork(
            obs_space, action_space, num_outputs, model_config, name
        )
    def forward(self, input_dict, state, seq_lens):
        return self.inner(input_dict, state, seq_lens)
    def value_function(self):
        return self.inner.value_function()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from actorrl.config import apply
from actorrl.errors import ConfigError
from actorrl.models.actor_critic import ActorCriticNetwork
from actorrl.models.model_config import ModelConfig
from actorrl.models.torch_model import TorchModelV2

# Of the outer model, or of what comes behind it.
_NOT_ITS_OWN = ("custom_model", "custom_model_config", "custom_action_dist", "use_lstm")


class FullyConnectedNetwork(TorchModelV2, nn.Module):
    """Outputs [N, num_outputs] and a value of flat observations [N, ...]: `fcnet_hiddens`, or for
    images the convolutions that the catalog has for their shape. Without a state."""

    def __init__(
        self,
        obs_space: Any,
        action_space: Any,
        num_outputs: int,
        model_config: Mapping[str, Any],
        name: str,
    ) -> None:
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, {**model_config}, name)
        nn.Module.__init__(self)
        own = {k: v for k, v in model_config.items() if k not in _NOT_ITS_OWN}
        settings = ModelConfig()
        wrong = apply(settings, own, "model.")
        if wrong:
            raise ConfigError(wrong)
        self._network = ActorCriticNetwork(obs_space, num_outputs, 1, settings)
        self._value: Tensor | None = None

    def forward(
        self,
        input_dict: Mapping[str, Any],
        state: Sequence[Tensor] = (),
        seq_lens: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        outputs, self._value = self._network(input_dict.get("obs_flat", input_dict["obs"]))
        return outputs, list(state)

    def value_function(self) -> Tensor:
        assert self._value is not None, "the value is that of the last forward"
        return self._value


VisionNetwork = FullyConnectedNetwork  # RLlib's name of the one for images
