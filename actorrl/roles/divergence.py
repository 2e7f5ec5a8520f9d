"""A loss or gradient that is no number: the learner ends, and says what its batch held."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from actorrl.errors import ActorRLError

_LOWER = "lower lr, or set grad_clip"


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
                said = f"{name} is {number} at update {update}: "
                if batch is None:
                    raise LearningDiverged(said + _LOWER)
                wrong = [key for key, value in sorted(batch.items()) if _num_wrong(value)]
                cause = f"its batch holds NaN or infinite {', '.join(wrong)}" if wrong else _LOWER
                raise LearningDiverged(f"{said}{cause}\nits batch:\n{_described(batch)}")


def _num_wrong(value: Any) -> int:
    return int((~torch.isfinite(value)).sum()) if isinstance(value, Tensor) else 0


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
    wrong = _num_wrong(numbers)
    return text + (f", {wrong} NaN or infinite" if wrong else "")
