"""Networks as users write them."""

from __future__ import annotations

import torch
from torch import nn

from actorrl.models.torch_model import TorchModelV2


class Plain(TorchModelV2, nn.Module):
    """The example of RLlib's documentation."""

    def __init__(self, obs_space, action_space, num_outputs, model_config, name, hidden=32):
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        size = int(torch.tensor(obs_space.shape).prod())
        self.shared_layers = nn.Sequential(nn.Linear(size, hidden), nn.ReLU())
        self.policy_head = nn.Linear(hidden, num_outputs)
        self.value_head = nn.Linear(hidden, 1)
        self._value = None

    def forward(self, input_dict, state, seq_lens):
        features = self.shared_layers(input_dict["obs_flat"].flatten(1).float())
        self._value = self.value_head(features).squeeze(1)
        return self.policy_head(features), state

    def value_function(self):
        return self._value


class Recurrent(TorchModelV2, nn.Module):
    """torch's own LSTM over padded sequences, with a state that does not start at zero."""

    def __init__(self, obs_space, action_space, num_outputs, model_config, name):
        nn.Module.__init__(self)  # without TorchModelV2's
        self.num_outputs = num_outputs
        self.lstm = nn.LSTM(obs_space.shape[0], 8, batch_first=True)
        self.heads = nn.Linear(8, num_outputs + 1)

    def get_initial_state(self):
        return [torch.full((8,), 0.5), torch.full((8,), -0.5)]

    def forward(self, input_dict, state, seq_lens):
        obs = input_dict["obs"]
        x = obs.view(len(seq_lens), -1, obs.shape[-1])
        h, c = (part.unsqueeze(0) for part in state)
        out, (h, c) = self.lstm(x, (h.contiguous(), c.contiguous()))
        out = self.heads(out).flatten(0, 1)
        self._value = out[:, -1]
        return out[:, :-1], [h[0], c[0]]

    def value_function(self):
        return self._value


class Structured(Plain):
    """Sees the dict that the environment returned."""

    def forward(self, input_dict, state, seq_lens):
        obs = input_dict["obs"]
        assert set(obs) == {"position", "inside", "map"}
        number, bits = obs["inside"]
        assert number.shape[1:] == (3,) and bits["only"].shape[1:] == (2,)
        assert obs["map"].dtype == torch.uint8 and obs["map"].shape[1:] == (2, 2)
        return super().forward(input_dict, state, seq_lens)
