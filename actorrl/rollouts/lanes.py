"""A lane: the decisions of one agent of one environment, one behind the other.

It becomes a column of its policy's [T, B] arrays. Agents act at different times, so lanes have
different lengths: behind its last decision a lane holds one row that is none, with the observation
that bootstraps, then padding. Losses already know rows that are no decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from actorrl.data import columns as c

Columns = dict[str, np.ndarray]
State = tuple[np.ndarray, ...]  # of one agent, without a batch axis


@dataclass(slots=True)
class Row:
    obs: np.ndarray
    age: int
    action: Any
    extras: dict[str, np.ndarray]  # without batch axis
    state: State  # before the observation
    valid: bool = True
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


@dataclass(slots=True)
class Lane:
    """What is known of one agent. It acts next where `obs` is set; `final` is the observation after
    an end, until a row or a fragment has taken it. `open`: its last row has no outcome yet."""

    rows: list[Row] = field(default_factory=list)
    obs: np.ndarray | None = None
    final: np.ndarray | None = None
    age: int = 0
    state: State = ()
    open: bool = False
    number: int = 0  # its own, in a worker

    @property
    def idle(self) -> bool:
        """Nothing is known of its agent any more."""
        return not self.rows and self.obs is None and self.final is None and not self.open

    def acted(self, row: Row, state: State) -> None:
        self.rows.append(row)
        self.state = state
        if row.valid:
            self.obs, self.open = None, True
            self.age += 1
        else:
            self.final = None

    def outcome(self, obs: np.ndarray | None, terminated: bool, truncated: bool) -> None:
        """The agent is heard of again, or has ended. If both flags are set, terminated wins."""
        ended = terminated or truncated
        if self.open and (ended or obs is not None):
            row = self.rows[-1]
            row.terminated, row.truncated = terminated, truncated and not terminated
            self.open = False
            if ended:
                self.final = row.obs if obs is None else obs
        self.obs = None if ended else obs

    def begin(self, obs: np.ndarray, state: State) -> None:
        """The first observation of an episode."""
        self.obs, self.age, self.state, self.open = obs, 0, state, False

    def take(self) -> tuple[list[Row], Row | None, np.ndarray | None, int]:
        """The rows of this fragment; the one that has no outcome yet, which begins the next one;
        where there is none, the observation that bootstraps; and that one's age."""
        rows, carried = self.rows, None
        if self.open:
            carried = rows[-1]
            rows = rows[:-1]
        self.rows = [carried] if carried is not None else []
        bootstrap = self.obs if self.final is None else self.final
        self.final = None
        return rows, carried, bootstrap, self.age

    def take_whole(self) -> list[Row]:
        """The rows up to the last one behind an end; those of the episode under way stay."""
        end = max((i + 1 for i, row in enumerate(self.rows) if not row.valid), default=0)
        taken, self.rows = self.rows[:end], self.rows[end:]
        return taken


def stack(lanes: list[list[Row]], num_rows: int) -> Columns:
    """[T, B] columns (T+1 observations) of lanes of 1 to `num_rows` rows each, padded."""
    first = lanes[0][0]
    shape = (num_rows, len(lanes))
    action = np.asarray(first.action)
    columns: Columns = {
        c.OBS: np.zeros((num_rows + 1, len(lanes), *first.obs.shape), first.obs.dtype),
        c.AGE: np.ones((num_rows + 1, len(lanes)), np.int32),
        c.ACTIONS: np.zeros((*shape, *action.shape), action.dtype),
        c.REWARDS: np.zeros(shape, np.float32),
        c.TERMINATEDS: np.zeros(shape, np.bool_),
        c.TRUNCATEDS: np.zeros(shape, np.bool_),
        c.VALID: np.zeros(shape, np.bool_),
    }
    for name, extra in first.extras.items():
        columns[name] = np.zeros((*shape, *extra.shape), extra.dtype)
    for i, part in enumerate(first.state):
        columns[c.state_in(i)] = np.zeros((len(lanes), *part.shape), part.dtype)
    for lane, rows in enumerate(lanes):
        for t, row in enumerate(rows):
            _write(columns, t, lane, row)
        for i, part in enumerate(rows[0].state):
            columns[c.state_in(i)][lane] = part
    return columns


def pieces(group: Columns, numbers: Sequence[int]) -> Iterator[tuple[int, Columns]]:
    """Each lane of a group by itself, [n, 1] up to its last decision, with the observation behind
    that: what a `Collector` of one environment writes."""
    for lane, number in enumerate(numbers):
        end = int(np.flatnonzero(group[c.VALID][:, lane])[-1]) + 1
        cut: dict[c.Axes, Any] = {
            c.Axes.TB: np.s_[:end, lane : lane + 1],
            c.Axes.T1B: np.s_[: end + 1, lane : lane + 1],
            c.Axes.B: np.s_[lane : lane + 1],
        }
        yield number, {name: column[cut[c.axes_of(name)]] for name, column in group.items()}


def _write(columns: Columns, t: int, lane: int, row: Row) -> None:
    columns[c.OBS][t, lane] = row.obs
    columns[c.AGE][t, lane] = row.age
    columns[c.ACTIONS][t, lane] = row.action
    columns[c.VALID][t, lane] = row.valid
    if row.valid:
        columns[c.REWARDS][t, lane] = row.reward
        columns[c.TERMINATEDS][t, lane] = row.terminated
        columns[c.TRUNCATEDS][t, lane] = row.truncated
    for name, value in row.extras.items():
        columns[name][t, lane] = value
