"""Observations of every Gymnasium space as arrays that a network takes.

B observations. A Box stays as it is. Discrete and MultiDiscrete become one-hot vectors, MultiBinary
a vector, Dict and Tuple one flat vector of all their leaves, which carries on how it is cut
(`FlatBox`); one with a single leaf is that leaf, so that an image inside stays an image.

A Dict's entry `action_mask` (RLlib's convention: beside `observations`) lies first in the flat
vector, where policies find it: actions whose entry is 0 are never taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces

ACTION_MASK = "action_mask"


class Leaf(NamedTuple):
    """A part of a flat observation: elements start..stop-1 are an array of this shape."""

    path: tuple[str | int, ...]  # keys and positions down to it
    start: int
    stop: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # as it was before: bytes of an image need another scale


class FlatBox(spaces.Box):
    """The space of flat observations: what networks see of a Dict or Tuple.

    `original_space` is RLlib's name for the space before. The first `mask_size` elements are the
    action mask; 0 where there is none.
    """

    original_space: spaces.Space[Any]
    leaves: tuple[Leaf, ...]
    mask_size: int


class Preprocessor(Protocol):
    """Turns B raw observations, an array or a sequence, into an array [B, ...] of `space`."""

    space: spaces.Box[Any]

    def transform(self, obs: Any) -> np.ndarray: ...


class Unchanged:
    """Boxes as they are, but float64 as float32: networks compute in it, and less travels."""

    def __init__(self, space: spaces.Box) -> None:
        self.space = space
        if space.dtype == np.float64:
            with np.errstate(over="ignore"):  # bounds beyond float32 become infinite
                low, high = space.low.astype(np.float32), space.high.astype(np.float32)
            self.space = spaces.Box(low, high, dtype=np.float32)

    def transform(self, obs: Any) -> np.ndarray:
        return np.asarray(obs, self.space.dtype)


class OneHot:
    """Discrete(n) as float32 [B, n]."""

    def __init__(self, space: spaces.Discrete) -> None:
        self.space: spaces.Box[Any] = spaces.Box(0.0, 1.0, (int(space.n),), np.float32)
        self._start = int(space.start)
        self._identity = np.eye(int(space.n), dtype=np.float32)

    def transform(self, obs: Any) -> np.ndarray:
        rows: np.ndarray = self._identity[np.asarray(obs, np.int64) - self._start]
        return rows


class ManyHot:
    """MultiDiscrete as float32 [B, sum of nvec]: one-hot vectors side by side."""

    def __init__(self, space: spaces.MultiDiscrete) -> None:
        sizes = space.nvec.ravel().astype(np.int64)
        self.space: spaces.Box[Any] = spaces.Box(0.0, 1.0, (int(sizes.sum()),), np.float32)
        self._shift = np.cumsum(sizes) - sizes - np.ravel(space.start)

    def transform(self, obs: Any) -> np.ndarray:
        places = np.asarray(obs, np.int64).reshape(len(obs), -1) + self._shift  # [B, choices]
        hot = np.zeros((len(places), self.space.shape[0]), np.float32)
        hot[np.arange(len(places))[:, None], places] = 1.0
        return hot


class Bits:
    """MultiBinary as float32 [B, n]."""

    def __init__(self, space: spaces.MultiBinary) -> None:
        self.space: spaces.Box[Any] = spaces.Box(0.0, 1.0, (math.prod(space.shape),), np.float32)

    def transform(self, obs: Any) -> np.ndarray:
        return np.asarray(obs, np.float32).reshape(len(obs), -1)


class Only:
    """A Dict or Tuple with a single entry: that entry."""

    def __init__(self, key: str | int, inside: Preprocessor) -> None:
        self.space = inside.space
        self._key, self._inside = key, inside

    def transform(self, obs: Any) -> np.ndarray:
        return self._inside.transform([one[self._key] for one in obs])


class Joined:
    """A Dict or Tuple as one vector, the entries side by side; bytes where all numbers are."""

    def __init__(self, space: spaces.Dict | spaces.Tuple, entries: Sequence[Entry]) -> None:
        self._entries = entries
        bounds = [np.concatenate([_flat(e, end) for e in entries]) for end in ("low", "high")]
        boxes = [box for box in _boxes(space) if box.dtype == np.uint8]
        is_bytes = bool(boxes) and len(boxes) == len(_boxes(space))
        self._dtype = np.dtype(np.uint8 if is_bytes else np.float32)
        with np.errstate(over="ignore"):
            low, high = (bound.astype(self._dtype) for bound in bounds)
        flat = FlatBox(low, high, dtype=self._dtype.type)
        flat.original_space = space
        flat.leaves = _leaves_of(entries)
        first = flat.leaves[0]
        flat.mask_size = first.stop if first.path == (ACTION_MASK,) else 0
        self.space: spaces.Box[Any] = flat

    def transform(self, obs: Any) -> np.ndarray:
        flat = np.empty((len(obs), *self.space.shape), self._dtype)
        start = 0
        for key, preprocessor in self._entries:
            column = preprocessor.transform([one[key] for one in obs]).reshape(len(obs), -1)
            flat[:, start : start + column.shape[1]] = column
            start += column.shape[1]
        return flat


class Entry(NamedTuple):
    key: str | int
    preprocessor: Preprocessor


def preprocessor_for(space: spaces.Space[Any]) -> Preprocessor:
    """Raises ValueError, naming the space, where it is none of Gymnasium's fixed-size ones."""
    if isinstance(space, spaces.Box):
        return Unchanged(space)
    if isinstance(space, spaces.Discrete):
        return OneHot(space)
    if isinstance(space, spaces.MultiDiscrete):
        return ManyHot(space)
    if isinstance(space, spaces.MultiBinary):
        return Bits(space)
    if isinstance(space, spaces.Dict | spaces.Tuple) and len(space):
        inside = [Entry(key, preprocessor_for(part)) for key, part in _parts(space)]
        if len(inside) == 1:
            return Only(*inside[0])
        return Joined(space, inside)
    raise ValueError(
        f"observations of the space {space} are not supported; Box, Discrete, MultiDiscrete, "
        "MultiBinary, and Dict and Tuple of these are"
    )


def problem_with(space: spaces.Space[Any], obs: Any) -> str | None:
    """How an observation is not in its space, as far as preprocessing would break or mislead.

    Looks at structure, shapes, and numbers that are counted; a Box's bounds are not looked at.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return _structure_problem(space, obs)
    if obs is None or isinstance(obs, str | bytes):
        return f"{obs!r}, but observation_space is {space}"
    if np.shape(obs) != space.shape:
        return f"of shape {np.shape(obs)}, but observation_space has {space.shape}"
    if isinstance(space, spaces.Box):
        return _cut_off(space.dtype, np.asarray(obs))
    return None if _is_counted(space, np.asarray(obs)) else f"{obs!r} that is not in {space}"


def _cut_off(dtype: Any, obs: np.ndarray) -> str | None:
    """Numbers of which NumPy would make others, without a word: in bytes, -1 would be 255."""
    if obs.dtype == dtype or dtype.kind == "f":
        return None
    with np.errstate(invalid="ignore"):
        wrong = np.argwhere(obs.astype(dtype) != obs)
    if not len(wrong):
        return None
    place = wrong[0].tolist()
    return f"with {obs[tuple(place)]} as element {place}, but observation_space has {dtype}"


def _is_counted(space: spaces.Space[Any], obs: np.ndarray) -> bool:
    """Whether whole numbers lie between the space's first and last."""
    if isinstance(space, spaces.Discrete):
        first, size = space.start, space.n
    elif isinstance(space, spaces.MultiDiscrete):
        first, size = space.start, space.nvec
    else:
        first, size = 0, 2  # MultiBinary
    return obs.dtype.kind in "iub" and bool(((obs >= first) & (obs < first + size)).all())


def _structure_problem(space: spaces.Dict | spaces.Tuple, obs: Any) -> str | None:
    keys = [key for key, _ in _parts(space)]
    if not isinstance(obs, dict | tuple | list):
        return f"{obs!r}, but observation_space has the entries {keys}"
    found = list(obs) if isinstance(obs, dict) else list(range(len(obs)))
    if set(found) != set(keys):
        return f"with the entries {found}, but observation_space has {keys}"
    parts: list[tuple[Any, spaces.Space[Any]]] = _parts(space)
    for key, part in parts:
        problem = problem_with(part, obs[key])
        if problem is not None:
            return f"whose entry {key!r} is {problem}"
    return None


def _parts(space: spaces.Dict | spaces.Tuple) -> list[tuple[str | int, spaces.Space[Any]]]:
    """Keys and spaces in the order of the flat vector: an action mask comes first."""
    if isinstance(space, spaces.Tuple):
        return list(enumerate(space.spaces))
    return sorted(space.spaces.items(), key=lambda item: item[0] != ACTION_MASK)


def _boxes(space: Any) -> list[spaces.Box]:
    """All Boxes inside but the action mask."""
    if isinstance(space, spaces.Box):
        return [space]
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return []
    return [box for key, part in _parts(space) if key != ACTION_MASK for box in _boxes(part)]


def _flat(entry: Entry, end: str) -> np.ndarray:
    bound: np.ndarray = getattr(entry.preprocessor.space, end)
    return bound.ravel().astype(np.float64)


def _leaves_of(entries: Sequence[Entry]) -> tuple[Leaf, ...]:
    leaves, start = [], 0
    for key, preprocessor in entries:
        space = preprocessor.space
        size = math.prod(space.shape)
        inner = getattr(space, "leaves", (Leaf((), 0, size, space.shape, space.dtype),))
        leaves += [
            leaf._replace(path=(key, *leaf.path), start=start + leaf.start, stop=start + leaf.stop)
            for leaf in inner
        ]
        start += size
    return tuple(leaves)
