"""A checkpoint's state as JSON text beside a flat table of arrays, and back.

State is a tree of dicts with text keys, lists, numbers, text, booleans, None and NumPy arrays. An
array's place in the JSON is held by {"__array__": KEY}, with its key in the table. Tuples become
lists. NaN and infinity, which JSON lacks, are {"__float__": "nan"}.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

ARRAY = "__array__"
FLOAT = "__float__"
ARRAY_KINDS = "biuf"
"""Kinds of dtype that are stored: booleans, integers, floats."""


def split(state: Any, path: str = "") -> tuple[Any, dict[str, np.ndarray]]:
    """JSON-able tree and arrays of `state`; TypeError naming the path of what cannot be stored."""
    arrays: dict[str, np.ndarray] = {}
    return _split(state, path, arrays), arrays


def join(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The state that `split` took apart; KeyError or ValueError if the two do not match."""
    if isinstance(tree, list):
        return [join(item, arrays) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if ARRAY in tree:
        return arrays[tree[ARRAY]]
    if FLOAT in tree:
        return float(tree[FLOAT])
    return {key: join(value, arrays) for key, value in tree.items()}


def _split(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        arrays[path] = _storable(value, path)
        return {ARRAY: path}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {FLOAT: str(value)}
    if isinstance(value, Mapping):
        return {k: _split(v, _child(path, k), arrays) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_split(item, f"{path}/{i}", arrays) for i, item in enumerate(value)]
    raise TypeError(
        f"{path or 'state'}: {type(value).__name__} cannot be in a checkpoint; numbers, text, "
        "lists, dicts and NumPy arrays can"
    )


def _child(path: str, key: Any) -> str:
    if not isinstance(key, str) or key in (ARRAY, FLOAT):
        raise TypeError(
            f"{path or 'state'}: {key!r} cannot be a key in a checkpoint, only text can"
        )
    return f"{path}/{key}" if path else key


def _storable(array: np.ndarray, path: str) -> np.ndarray:
    """`array` in C order and the machine's byte order."""
    if array.dtype.kind not in ARRAY_KINDS or array.dtype.itemsize > 8:
        raise TypeError(f"{path}: an array of {array.dtype} cannot be in a checkpoint")
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
