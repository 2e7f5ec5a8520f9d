"""Where arrays are put that somebody else has memory for: a slab, a batch that is used again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Allocate = Callable[[tuple[int, ...], Any], np.ndarray]  # (shape, dtype) -> an array to be filled
