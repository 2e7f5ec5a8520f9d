"""Observation filters: running mean and deviation over the observations of all workers.

The life of a MeanStdFilter: workers filter with statistics that came with the weights, under one
version. Who gets each of their rows once (the learner, or the shards of a replay) notes them in a
`delta`; who owns the weights merges deltas into the statistics and publishes them with the next
version. A delta is taken once and merged once, so the statistics are exactly those of all rows in
one process, whatever was lost or restarted in between.

N rows; statistics have the shape of one observation. They are float64: sums of many small numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actorrl.errors import ConfigError

Float64 = NDArray[np.float64]

_FARTHEST = 10.0  # a filtered number, in deviations


class RunningStat:
    """Count, mean and sum of squared deviations of the rows seen (Welford 1962; merged as Chan,
    Golub and LeVeque 1983)."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.mean: Float64 = np.zeros(shape)
        self.m2: Float64 = np.zeros(shape)

    def add(self, rows: NDArray[Any]) -> None:
        """Rows [N, ...]; none with a NaN may be among them."""
        if not len(rows):
            return
        exact = np.asarray(rows, np.float64)
        assert exact.shape[1:] == self.mean.shape, (exact.shape, self.mean.shape)
        mean = exact.mean(axis=0)
        self._merge(len(exact), mean, np.square(exact - mean).sum(axis=0))

    def merge(self, other: RunningStat) -> None:
        """As if its rows had been added here; `other` stays as it is."""
        self._merge(other.count, other.mean, other.m2)

    def _merge(self, count: int, mean: Float64, m2: Float64) -> None:
        if count == 0:
            return
        total = self.count + count
        distance = mean - self.mean
        self.mean = self.mean + distance * (count / total)
        self.m2 = self.m2 + m2 + np.square(distance) * (self.count * count / total)
        self.count = total

    @property
    def std(self) -> Float64:
        """1 where fewer than two rows have been seen, as RLlib's."""
        if self.count < 2:
            return np.ones_like(self.mean)
        return np.sqrt(self.m2 / (self.count - 1))

    def copy(self) -> RunningStat:
        return RunningStat.from_state(self.state_dict())

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Arrays, for messages and checkpoints."""
        return {"count": np.array(self.count), "mean": self.mean.copy(), "m2": self.m2.copy()}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> RunningStat:
        """Raises ValueError where shapes differ or numbers cannot be."""
        mean, m2 = (np.array(state[name], np.float64) for name in ("mean", "m2"))
        count = int(state["count"])
        if mean.shape != m2.shape or count < 0 or not np.isfinite(mean).all() or (m2 < 0).any():
            raise ValueError(f"not the statistics of {count} rows: shapes {mean.shape}, {m2.shape}")
        stat = cls(mean.shape)
        stat.count, stat.mean, stat.m2 = count, mean, m2
        return stat


class NoFilter:
    """Observations as they are, under the same interface."""

    version = 0

    def __call__(self, obs: NDArray[Any]) -> NDArray[Any]:
        return obs

    def note(self, obs: NDArray[Any]) -> None:
        """Nothing is noted."""

    def take_delta(self) -> dict[str, NDArray[Any]]:
        return {}

    def merge(self, delta: Mapping[str, NDArray[Any]]) -> None:
        """Nothing is merged."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        return {}

    def load_state_dict(self, state: Mapping[str, NDArray[Any]], version: int = 0) -> None:
        """Nothing is loaded."""


class MeanStdFilter:
    """(obs - mean) / (std + 1e-8), clipped to [-10, 10], float32.

    `keep` leading elements stay as they are: an action mask. Calling it changes nothing; `note`
    does. `version` is that of the statistics which filter.
    """

    def __init__(self, shape: tuple[int, ...], keep: int = 0) -> None:
        self.stat = RunningStat(shape)
        self.version = 0
        self._delta = RunningStat(shape)
        self._keep = keep
        self._derive()

    def _derive(self) -> None:
        """What the forward needs of the statistics."""
        self.mean = self.stat.mean.astype(np.float32)
        self.scale = (1.0 / (self.stat.std + 1e-8)).astype(np.float32)
        if self._keep:
            self.mean[: self._keep], self.scale[: self._keep] = 0.0, 1.0

    def __call__(self, obs: NDArray[Any]) -> NDArray[np.float32]:
        """Rows [..., *shape]."""
        filtered: NDArray[np.float32] = (np.asarray(obs, np.float32) - self.mean) * self.scale
        np.clip(filtered, -_FARTHEST, _FARTHEST, out=filtered)
        return filtered

    def note(self, obs: NDArray[Any]) -> None:
        """Rows [N, ...] go into the delta; they do not yet change what `filter(obs)` gives."""
        self._delta.add(obs)

    def take_delta(self) -> dict[str, NDArray[Any]]:
        """What was noted since the last call, to be merged by the owner; it is forgotten here."""
        state = self._delta.state_dict()
        self._delta = RunningStat(self.stat.mean.shape)
        return state

    def merge(self, delta: Mapping[str, NDArray[Any]]) -> None:
        """The owner's: another's `take_delta`, or one's own. Order does not matter."""
        self.stat.merge(RunningStat.from_state(delta))
        self._derive()

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The statistics, for publishing and checkpoints; never the delta, which is merged once."""
        return self.stat.state_dict()

    def load_state_dict(self, state: Mapping[str, NDArray[Any]], version: int = 0) -> None:
        """Filter with these statistics from now on; the own delta stays. Nothing for {}."""
        if not state:
            return
        self.stat = RunningStat.from_state(state)
        self.version = version
        self._derive()


def filter_for(name: str, observation_space: Any) -> NoFilter | MeanStdFilter:
    """By RLlib's names. Raises ConfigError for others, and for images (bytes are scaled already).

    `observation_space` is that of preprocessed observations.
    """
    if name == "NoFilter":
        return NoFilter()
    if name != "MeanStdFilter":
        raise ConfigError(
            f"observation_filter: {name!r} is not accepted, expected 'NoFilter' or 'MeanStdFilter'"
        )
    _refuse_bytes(observation_space)
    mask_size = int(getattr(observation_space, "mask_size", 0))
    return MeanStdFilter(observation_space.shape, keep=mask_size)


def _refuse_bytes(space: Any) -> None:
    """Of images; those inside a Dict, too, whose flat vector is of floats."""
    expected = "expected NoFilter: bytes are scaled by the network"
    if space.dtype == np.uint8:
        raise ConfigError(
            f"observation_filter: MeanStdFilter with the observation space {space}, {expected}"
        )
    for leaf in getattr(space, "leaves", ()):
        if leaf.dtype == np.uint8 and len(leaf.shape) > 1:
            entry = ".".join(map(str, leaf.path))
            raise ConfigError(
                f"observation_filter: MeanStdFilter with the image '{entry}' of shape {leaf.shape}"
                f" in the observation space, {expected}"
            )
