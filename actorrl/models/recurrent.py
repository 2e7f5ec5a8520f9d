"""An LSTM whose state can be reset inside a sequence, which torch's own cannot.

L rows in time, B sequences side by side, F input features, H units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

State = tuple[Tensor, ...]


class LSTMCore(nn.Module):
    """One LSTM layer (Hochreiter and Schmidhuber 1997; forget gates with bias 1).

    Gradients flow back through at most `max_seq_len` rows; None: through all.
    """

    def __init__(self, input_size: int, cell_size: int, max_seq_len: int | None = None) -> None:
        super().__init__()
        self.max_seq_len = max_seq_len
        self.cell_size = self.output_size = cell_size
        # Gates in the order input, forget, output, candidate: the first three share a sigmoid.
        self.weight_input = nn.Parameter(torch.empty(4 * cell_size, input_size))
        self.weight_hidden = nn.Parameter(torch.empty(4 * cell_size, cell_size))
        self.bias = nn.Parameter(torch.zeros(4 * cell_size))
        for weight in (self.weight_input, self.weight_hidden):
            for gate in weight.data.chunk(4):
                nn.init.orthogonal_(gate)
        self.bias.data[cell_size : 2 * cell_size] = 1.0

    def initial_state(self, batch: int) -> State:
        """Zeros (h [B, H], c [B, H]) on the weights' device."""
        zeros = self.bias.new_zeros(batch, self.cell_size)
        return zeros, zeros.clone()

    def forward(
        self, x: Tensor, state: State, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """x [L, B, F] and the state before row 0 -> outputs [L, B, H] and the state after row L-1.

        `resets [L, B]` (bool): True where the state is zeroed before the row, so that nothing
        before it reaches this row or a later one, neither forward nor as a gradient.
        """
        assert x.dim() == 3 and (resets is None or resets.shape == x.shape[:2])
        h, c = state
        from_input = functional.linear(x, self.weight_input, self.bias)  # [L, B, 4H]
        keep = None if resets is None else (~resets).unsqueeze(-1).to(x.dtype)  # [L, B, 1]
        outputs = []
        for row, gates in enumerate(from_input):
            if self.max_seq_len is not None and row % self.max_seq_len == 0:
                h, c = h.detach(), c.detach()
            if keep is not None:
                h, c = h * keep[row], c * keep[row]
            h, c = self._cell(gates, h, c)
            outputs.append(h)
        return torch.stack(outputs), (h, c)

    def _cell(self, from_input: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        gates = torch.addmm(from_input, h, self.weight_hidden.t())  # [B, 4H]
        inputs, forget, output = gates[:, : 3 * self.cell_size].sigmoid().chunk(3, dim=1)
        candidate = gates[:, 3 * self.cell_size :].tanh()
        c = forget * c + inputs * candidate
        return output * c.tanh(), c
