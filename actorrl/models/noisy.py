"""Linear layers with learned noise on their weights (Fortunato et al. 2018, "Noisy networks").

N rows. The noise is factorised: f(e_out) f(e_in)^T with f(x) = sign(x) sqrt(|x|), so each row of a
batch can have a noise of its own for the price of a second multiplication.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class NoisyLinear(nn.Module):
    """x [N, inputs] -> x (W + sigma_W * noise)^T + b + sigma_b * noise, [N, outputs].

    Without a draw there is no noise. The noise is no weight: neither sent nor kept in checkpoints.
    """

    def __init__(self, inputs: int, outputs: int, sigma: float = 0.5) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_sigma = nn.Parameter(torch.full((outputs, inputs), sigma * bound))
        self.bias_sigma = nn.Parameter(torch.full((outputs,), sigma * bound))
        self._noise: tuple[Tensor, Tensor] | None = None  # [1 or N, inputs], [1 or N, outputs]

    def draw(self, random: np.random.Generator, rows: int = 1) -> None:
        """New noise: one for all rows (1), or one for each."""
        outputs, inputs = self.weight.shape
        self._noise = (self._factor(random, rows, inputs), self._factor(random, rows, outputs))

    def be_quiet(self) -> None:
        self._noise = None

    def _factor(self, random: np.random.Generator, rows: int, size: int) -> Tensor:
        values = torch.from_numpy(random.standard_normal((rows, size), dtype=np.float32))
        return (values.sign() * values.abs().sqrt()).to(self.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.linear(x, self.weight, self.bias)
        if self._noise is None:
            return y
        noise_in, noise_out = self._noise
        return y + noise_out * functional.linear(x * noise_in, self.weight_sigma, self.bias_sigma)
