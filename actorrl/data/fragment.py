"""What a rollout worker sends: named groups of columns, one group per policy.

A fragment is written by `rollouts.collector`, crosses the wire as a small body plus raw arrays,
and is read by learners and replay shards. Its arrays are allocated for it alone: once it is sent,
nobody writes to them again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actorrl.data.columns import DEFAULT_POLICY
from actorrl.errors import WireError


@dataclass(slots=True)
class Episode:
    """One finished episode, as its environment reported it."""

    env_index: int  # global over all workers
    episode_return: float  # sum of unclipped rewards
    length: int  # env steps
    custom_metrics: dict[str, float] = field(default_factory=dict)  # of the user's callbacks
    policy_returns: dict[str, float] = field(default_factory=dict)  # where there are several

    def to_row(self) -> list[Any]:
        """As it is sent; what is empty at the end is left out."""
        row: list[Any] = [int(self.env_index), float(self.episode_return), int(self.length)]
        if self.policy_returns:
            return [*row, self.custom_metrics, self.policy_returns]
        return [*row, self.custom_metrics] if self.custom_metrics else row

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Episode:
        """The inverse. Raises ValueError or TypeError on another shape."""
        env_index, episode_return, length, *more = row
        named = [{str(name): float(value) for name, value in part.items()} for part in more]
        return cls(int(env_index), float(episode_return), int(length), *named)


@dataclass(slots=True)
class Fragment:
    """T decisions of each of B environments. Where the last one stopped, the next one goes on."""

    groups: dict[str, dict[str, np.ndarray]]  # policy id -> column name -> array
    num_env_steps: int  # valid rows
    policy_version: int  # version of the weights that acted at row 0
    episodes: list[Episode] = field(default_factory=list)  # finished within these rows
    worker_index: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    num_resets: int = 0  # rows in which an environment only began an episode: no env steps
    # For the worker's own use, not sent. Recurrent state after the last row, each [B, ...]; where
    # there are several agents: policy -> [B] numbers of agents, the same in all fragments.
    state_out: tuple[np.ndarray, ...] = ()
    # The column `frames`, with those of more rows before it: [lead-in + k-1 + T+1, B, H, W].
    led_frames: np.ndarray | None = None
    lanes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The only group. Raises ValueError where there are several policies."""
        if len(self.groups) != 1:
            raise ValueError(f"this fragment has {len(self.groups)} groups: {sorted(self.groups)}")
        return next(iter(self.groups.values()))

    def flat_columns(self) -> dict[str, np.ndarray]:
        """The columns of the default policy alone, else those of all under "policy/column"."""
        if set(self.groups) == {DEFAULT_POLICY}:
            return self.columns
        return self.to_message()[1]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for group in self.groups.values() for array in group.values())

    def to_message(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """A msgpack-able body, and the arrays under the keys "policy/column" (not copied)."""
        body = {
            "num_env_steps": int(self.num_env_steps),
            "policy_version": int(self.policy_version),
            "worker_index": int(self.worker_index),
            "episodes": [episode.to_row() for episode in self.episodes],
            "metrics": {name: float(value) for name, value in self.metrics.items()},
            "num_resets": int(self.num_resets),
        }
        arrays = {
            f"{policy}/{name}": array
            for policy, group in self.groups.items()
            for name, array in group.items()
        }
        return body, arrays

    @classmethod
    def from_message(cls, body: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Fragment:
        """Inverse of `to_message`. Raises WireError on a body of another shape."""
        try:
            return cls(
                groups=_groups(arrays),
                num_env_steps=int(body["num_env_steps"]),
                policy_version=int(body["policy_version"]),
                episodes=[Episode.from_row(row) for row in body["episodes"]],
                worker_index=int(body["worker_index"]),
                metrics={str(name): float(value) for name, value in body["metrics"].items()},
                num_resets=int(body["num_resets"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise WireError(f"not a fragment: {type(error).__name__}: {error}") from error


def single_group(columns: dict[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """`columns` as the group of the only policy."""
    return {DEFAULT_POLICY: columns}


def _groups(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    groups: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        policy, separator, name = key.rpartition("/")
        if not separator:
            raise ValueError(f"array key '{key}' is not 'policy/column'")
        groups.setdefault(policy, {})[name] = array
    return groups
