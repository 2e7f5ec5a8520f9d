"""RLlib's `pretty_print`: a result as text for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import yaml


def pretty_print(result: Mapping[str, Any]) -> str:
    """YAML, keys sorted, without what is empty, missing or not a number; floats of 6 digits."""
    text: str = yaml.safe_dump(_readable(result), default_flow_style=False, sort_keys=True)
    return text


def _readable(value: Any) -> Any:
    if isinstance(value, Mapping):
        shown = {str(key): _readable(inner) for key, inner in value.items()}
        return {key: inner for key, inner in shown.items() if inner not in (None, {}, [])}
    if isinstance(value, list | tuple):
        return [_readable(inner) for inner in value]
    if hasattr(value, "tolist"):  # NumPy
        return _readable(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if isinstance(value, int | str | bool | None) else str(value)
