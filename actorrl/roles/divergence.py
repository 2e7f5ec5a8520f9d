"""A loss or gradient that is no number: the learner ends, and says what its batch held."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from actorrl.errors import ActorRLError


class LearningDiverged(ActorRLError):
    """A loss or gradient became NaN or infinite; nothing was published from it. Starting again from
    the same checkpoint would end the same way."""

    fatal = True


def check(
    metrics: Mapping[str, float], update: int, batch: Mapping[str, Any] | None = None
) -> None:
    """Raises LearningDiverged. `update` is the number of the one that they are of. A finite loss
    may have a gradient that is not (the root of 0): its step has made the weights NaN already."""
    for ending in ("loss", "grad_gnorm"):
        for name, number in metrics.items():
            if name.endswith(ending) and not math.isfinite(number):
                said = f"{name} is {number} at update {update}: lower lr, or set grad_clip"
                held = "" if batch is None else f"\nits batch:\n{_described(batch)}"
                raise LearningDiverged(said + held)


def _described(batch: Mapping[str, Any]) -> str:
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
