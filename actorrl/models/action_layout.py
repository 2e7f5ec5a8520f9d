"""How actions are stored, and how they become what `env.step` takes.

B environments, K numbers of a flat action. Policies store every action as one array [B, *shape]:

    Discrete(n)        int64 [B], counted from 0
    MultiDiscrete      int64 [B, *nvec.shape], each counted from 0
    MultiBinary        int8 [B, *shape]
    Box                float32 [B, *shape]; where both bounds are finite, -1 is low and 1 is high
    Dict, Tuple        float32 [B, K], the parts one after the other in the space's own order

Only `to_env` knows bounds: policies may store numbers beyond [-1, 1] (what a Gaussian drew), and
the environment gets them clipped. Where users ask for it, a Box's actions are stored in the
environment's own units instead: "clipped" to its bounds at the environment, or "raw".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from actorrl.errors import ConfigError

Array = NDArray[Any]
Units = Literal["normalized", "clipped", "raw"]  # of a Box's stored actions


class Affine(NamedTuple):
    """What `to_env` does to a flat stored action [K], for who computes without NumPy:
    clip(action * scale + shift, low, high), rounded where `whole`; [K] each."""

    scale: Array
    shift: Array
    low: Array
    high: Array
    whole: Array  # bool
    dtype: np.dtype[Any]  # of what the environment takes

    @classmethod
    def joined(cls, parts: Sequence[Affine]) -> Affine:
        """Side by side, as float32."""
        return cls(
            np.concatenate([part.scale for part in parts]),
            np.concatenate([part.shift for part in parts]),
            np.concatenate([part.low for part in parts]),
            np.concatenate([part.high for part in parts]),
            np.concatenate([part.whole for part in parts]),
            np.dtype(np.float32),
        )


class ActionLayout(Protocol):
    """One action space: `shape` and `dtype` of one stored action, and the way there and back."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def to_env(self, actions: Array) -> Any:
        """[B, *shape] -> B actions of the space: an array, or a list for Dict and Tuple."""

    def from_env(self, actions: Any) -> Array:
        """The inverse, up to what clipping took; [B, *shape]."""

    def affine(self) -> Affine: ...


def action_layout(space: spaces.Space[Any], units: Units = "normalized") -> ActionLayout:
    """Raises ConfigError, naming the space, where it is none of the six above."""
    if isinstance(space, spaces.Discrete):
        return Counted((), np.int64, int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        return Counted(space.nvec.shape, np.int64, space.start)
    if isinstance(space, spaces.MultiBinary):
        return Counted(space.shape, np.int8, 0)
    if isinstance(space, spaces.Box):
        return Scaled(space, units)
    if isinstance(space, spaces.Dict):
        return Product(list(space.spaces.values()), _dict_of(list(space.spaces)), units)
    if isinstance(space, spaces.Tuple):
        return Product(list(space.spaces), tuple, units)
    raise ConfigError(
        f"env: actions of the space {space} are not supported, expected Discrete, MultiDiscrete, "
        "MultiBinary, Box, or a Dict or Tuple of these"
    )


def is_bounded(space: Any) -> bool:
    """Whether this is a Box with finite bounds on all sides, so that [-1, 1] has a meaning."""
    return isinstance(space, spaces.Box) and bool(space.is_bounded("both"))


class Counted:
    """Whole numbers that policies count from 0."""

    def __init__(self, shape: Sequence[int], dtype: Any, start: Any) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self._start = start
        self._moved = bool(np.any(start))

    def to_env(self, actions: Array) -> Array:
        if self._moved:
            return actions + self._start
        # An environment may change the arrays that it is given (`action -= 1`), not what is stored.
        return actions.copy() if self.shape else actions

    def from_env(self, actions: Any) -> Array:
        return np.asarray(np.asarray(actions) - self._start, self.dtype)

    def affine(self) -> Affine:
        ones = np.ones(math.prod(self.shape))
        shift = np.broadcast_to(np.asarray(self._start, np.float64), self.shape).reshape(-1)
        return Affine(ones, shift, -np.inf * ones, np.inf * ones, ones > 0, self.dtype)


class Scaled:
    """A Box: elements with two finite bounds are scaled to [-1, 1], the others only clipped; in
    units of the environment none is scaled, and "raw" ones are not clipped."""

    def __init__(self, space: spaces.Box, units: Units = "normalized") -> None:
        self.shape = tuple(space.shape)
        self.dtype = np.dtype(np.float32)
        self._env_dtype = np.dtype(space.dtype)
        self._low, self._high = space.low.astype(np.float64), space.high.astype(np.float64)
        self._clips = units != "raw"
        scaled = np.isfinite(self._low) & np.isfinite(self._high) & (units == "normalized")
        with np.errstate(invalid="ignore"):
            self._middle = np.where(scaled, (self._high + self._low) / 2, 0.0)
            self._half = np.where(scaled, (self._high - self._low) / 2, 1.0)

    def to_env(self, actions: Array) -> Array:
        moved = actions * self._half + self._middle
        if self._clips:
            moved = np.clip(moved, self._low, self._high)
        if self._env_dtype.kind in "iu":
            np.rint(moved, out=moved)
        return moved.astype(self._env_dtype)

    def from_env(self, actions: Any) -> Array:
        half = np.where(self._half > 0, self._half, 1.0)
        return np.asarray((np.asarray(actions) - self._middle) / half, np.float32)

    def affine(self) -> Affine:
        whole = np.full(self._low.size, self._env_dtype.kind in "iu")
        low, high = self._low.ravel(), self._high.ravel()
        if not self._clips:
            low, high = np.full_like(low, -np.inf), np.full_like(high, np.inf)
        return Affine(self._half.ravel(), self._middle.ravel(), low, high, whole, self._env_dtype)


class Product:
    """A Dict or Tuple: the parts' numbers side by side as float32, exact for whole ones to 2^24."""

    def __init__(
        self,
        parts: Sequence[spaces.Space[Any]],
        build: Callable[[Sequence[Any]], Any],
        units: Units = "normalized",
    ) -> None:
        self._parts = [action_layout(part, units) for part in parts]
        sizes = [math.prod(part.shape) for part in self._parts]
        self._ends = np.cumsum(sizes).tolist()
        self._build = build
        self.shape: tuple[int, ...] = (int(sum(sizes)),)
        self.dtype = np.dtype(np.float32)

    def split(self, actions: Any) -> list[Any]:
        """The parts' own columns [..., *part.shape] of flat ones [..., K]; arrays or tensors."""
        lead = tuple(actions.shape[:-1])
        starts = [0, *self._ends[:-1]]
        return [
            actions[..., start:end].reshape(lead + part.shape)
            for part, start, end in zip(self._parts, starts, self._ends, strict=True)
        ]

    def join(self, columns: Sequence[Array]) -> Array:
        """The inverse of `split`, for B rows."""
        flat = [np.asarray(column, np.float32).reshape(len(column), -1) for column in columns]
        return np.concatenate(flat, axis=1)

    def to_env(self, actions: Array) -> list[Any]:
        columns = [
            part.to_env(column.astype(part.dtype, copy=False))
            for part, column in zip(self._parts, self.split(actions), strict=True)
        ]
        return [self._build(row) for row in zip(*columns, strict=True)]

    def from_env(self, actions: Any) -> Array:
        rows = [list(a.values()) if isinstance(a, dict) else list(a) for a in actions]
        columns = zip(*rows, strict=True)
        pairs = zip(self._parts, columns, strict=True)
        return self.join([part.from_env(list(column)) for part, column in pairs])

    def affine(self) -> Affine:
        return Affine.joined([part.affine() for part in self._parts])


def _dict_of(names: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Any]]:
    return lambda row: dict(zip(names, row, strict=True))
