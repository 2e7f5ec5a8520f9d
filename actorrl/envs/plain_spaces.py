"""Gymnasium's spaces as plain values that go into a JSON file, and back."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces


def to_plain(space: gym.Space[Any]) -> dict[str, Any]:
    """ValueError, naming it, for a space of another kind than those that policies take."""
    if isinstance(space, spaces.Box):
        bounds = {"low": _bound(space.low), "high": _bound(space.high)}
        return {"kind": "Box", **bounds, "shape": list(space.shape), "dtype": space.dtype.name}
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {
            "kind": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()
        }  # fmt: skip
    if isinstance(space, spaces.MultiBinary):
        n = list(space.shape) if len(space.shape) > 1 else int(space.shape[0])
        return {"kind": "MultiBinary", "n": n}
    if isinstance(space, spaces.Dict):
        inside = {key: to_plain(part) for key, part in space.spaces.items()}
        return {"kind": "Dict", "spaces": inside}
    if isinstance(space, spaces.Tuple):
        return {"kind": "Tuple", "spaces": [to_plain(part) for part in space.spaces]}
    raise ValueError(f"the space {space} cannot be written down")


def from_plain(plain: dict[str, Any]) -> gym.Space[Any]:
    """The inverse. KeyError, TypeError or ValueError for what `to_plain` has not written."""
    given = dict(plain)
    match given.pop("kind"):
        case "Box":
            dtype, shape = np.dtype(given["dtype"]), tuple(given["shape"])
            low, high = (np.array(given[name], np.float64) for name in ("low", "high"))
            filled = [np.broadcast_to(bound, shape).astype(dtype) for bound in (low, high)]
            box: Any = spaces.Box
            found: gym.Space[Any] = box(*filled, dtype=dtype.type)
            return found
        case "Discrete":
            return spaces.Discrete(**given)
        case "MultiDiscrete":
            return spaces.MultiDiscrete(**given)
        case "MultiBinary":
            return spaces.MultiBinary(**given)
        case "Dict":
            return spaces.Dict({key: from_plain(part) for key, part in given["spaces"].items()})
        case "Tuple":
            return spaces.Tuple([from_plain(part) for part in given["spaces"]])
        case other:
            raise ValueError(f"no kind of space is called {other!r}")


def _bound(bound: np.ndarray) -> Any:
    """One number where all are the same; infinity, which JSON lacks, as text that NumPy reads."""
    if bound.size and (bound == bound.flat[0]).all():
        return _number(float(bound.flat[0]))
    values: Any = bound.astype(np.float64)
    flat = [_number(x) for x in values.ravel().tolist()]
    return np.array(flat, dtype=object).reshape(bound.shape).tolist()


def _number(x: float) -> float | str:
    return x if math.isfinite(x) else str(x)
