"""What a batch held, in a few lines, for whoever has to find out why learning from it failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def described(batch: Mapping[str, Any]) -> str:
    """A line per column: shape, range and mean of its finite numbers, and how many are not."""
    return "\n".join(f"  {name} {_column(value)}" for name, value in sorted(batch.items()))


def _column(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"({type(value).__name__})"
    numbers = value.detach().double().flatten()
    finite = numbers[torch.isfinite(numbers)]
    text = f"{list(value.shape)}: "
    if len(finite):
        text += f"{finite.min():.4g} to {finite.max():.4g}, mean {finite.mean():.4g}"
    wrong = len(numbers) - len(finite)
    return text + (f", {wrong} NaN or infinite" if wrong else "")
