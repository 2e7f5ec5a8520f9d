"""TorchModelV2: the base of users' own networks, with RLlib's interface.

    class MyModel(TorchModelV2, nn.Module):
        def __init__(self, obs_space, action_space, num_outputs, model_config, name):
            TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
            nn.Module.__init__(self)
            ...
        def forward(self, input_dict, state, seq_lens):
            ...
            return outputs, state           # [N, num_outputs], and the state it was given
        def value_function(self):
            return self._value              # [N], of the last forward

It runs in the place of the built-in network: `ModelCatalog.register_custom_model("mine", MyModel)`
and `model={"custom_model": "mine"}`, or `"custom_model": MyModel`.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor


class TorchModelV2:
    """`obs_space` is of flat observations (`original_space` has the one before);
    `input_dict["obs"]` has its structure, `input_dict["obs_flat"]` the flat numbers.

    With a state, rows come as RLlib's: sequences one after the other, padded to the longest,
    `seq_lens` [S] says how long each is; states are a list of [S, ...]. Without one, `seq_lens` is
    None and `state` is empty.
    """

    obs_space: Any = None
    action_space: Any = None
    num_outputs: int | None = None
    model_config: dict[str, Any] = {}
    name: str = ""

    def __init__(
        self,
        obs_space: Any,
        action_space: Any,
        num_outputs: int,
        model_config: dict[str, Any],
        name: str,
    ) -> None:
        self.obs_space = obs_space
        self.action_space = action_space
        self.num_outputs = num_outputs
        self.model_config = model_config
        self.name = name

    def get_initial_state(self) -> list[Any]:
        """The state at an episode's start, arrays or tensors without a batch axis; [] for none."""
        return []

    def forward(
        self, input_dict: dict[str, Any], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def value_function(self) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define value_function")

    def metrics(self) -> dict[str, Any]:
        return {}
