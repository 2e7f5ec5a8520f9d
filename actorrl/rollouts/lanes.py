"""A lane: the decisions of one agent of one environment, one behind the other.

It becomes a column of its policy's [T, B] arrays. Agents act at different times, so lanes have
different lengths: behind its last decision a lane holds one row that is none, with the observation
that bootstraps, then padding. Losses already know rows that are no decision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from actorrl.data import columns as c

Columns = dict[str, np.ndarray]
Extras = dict[str, np.ndarray]
State = tuple[np.ndarray, ...]  # both of one agent, without a batch axis


@dataclass(slots=True)
class Row:
    obs: np.ndarray
    age: int
    action: Any
    extras: Extras
    state: State  # before the observation
    valid: bool = True
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    version: int = 0  # of the weights that acted
    episode: Any = None  # the caller's, in which it was acted


@dataclass(slots=True)
class Lane:
    """What is known of one agent. It acts next where `obs` is set; `final` is the observation after
    an end, until a row or a fragment has taken it. `open`: its last row has no outcome yet."""

    rows: list[Row] = field(default_factory=list)
    obs: np.ndarray | None = None
    final: np.ndarray | None = None
    age: int = 0
    state: State = ()
    episode: Any = None
    open: bool = False
    number: int = 0  # its own, in a worker

    @property
    def idle(self) -> bool:
        """Nothing is known of its agent any more."""
        return not self.rows and self.obs is None and self.final is None and not self.open

    @property
    def shown(self) -> np.ndarray | None:
        """What its policy is asked about now: what the agent acts on, or what it saw at its end
        (nobody takes that action)."""
        return self.final if self.obs is None else self.obs

    def begin(self, obs: np.ndarray, state: State, episode: Any = None) -> None:
        """The first observation of an episode."""
        self.obs, self.age, self.state, self.open = obs, 0, state, False
        self.episode = episode

    def acted(self, action: Any, extras: Extras, state: State, version: int) -> bool:
        """What the policy of that version said of `shown`, and its state afterwards; whether the
        agent acts."""
        obs, decides = self.shown, self.obs is not None
        assert obs is not None
        row = Row(obs, self.age, action, extras, self.state, valid=decides, version=version)
        row.episode = self.episode
        self.rows.append(row)
        self.state = state
        if decides:
            self.obs, self.open = None, True
            self.age += 1
        else:
            self.final = None
        return decides

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

    def end(self, terminated: bool) -> None:
        """The episode is over for all: for an agent that waits for its outcome, and for one that
        was told what it sees, but not that it has ended."""
        if self.open:
            self.outcome(None, terminated, not terminated)
        elif self.obs is not None:
            if self.rows and self.rows[-1].valid:
                self.rows[-1].terminated, self.rows[-1].truncated = terminated, not terminated
                self.final = self.obs
            self.obs = None

    def take(self) -> tuple[list[Row], Row | None]:
        """The rows of this fragment, if anything was decided, and behind the last decision one that
        is none; that one, if the policy has not said yet what it thinks of it. A row that has no
        outcome yet begins the next fragment."""
        rows, carried = self.rows, None
        if self.open:
            rows, carried = rows[:-1], rows[-1]
        self.rows = [] if carried is None else [carried]
        bootstrap = self.obs if self.final is None else self.final
        self.final = None
        if not any(row.valid for row in rows):
            return [], None
        if not rows[-1].valid:
            return rows, None
        if carried is not None:
            return [*rows, replace(carried, valid=False)], None
        assert bootstrap is not None
        behind = Row(bootstrap, self.age, rows[-1].action, {}, self.state, valid=False)
        return [*rows, behind], behind

    def take_whole(self) -> list[Row]:
        """The rows up to the last one behind an end; those of the episode under way stay."""
        end = max((i + 1 for i, row in enumerate(self.rows) if not row.valid), default=0)
        taken, self.rows = self.rows[:end], self.rows[end:]
        return taken


class Lanes:
    """Of all agents of a worker, by policy, environment and agent: one each, a second one only
    where an agent comes back before the row after its end was written."""

    def __init__(self) -> None:
        self._by_policy: dict[str, dict[tuple[int, Any], list[Lane]]] = {}
        self._num_made = 0

    def __len__(self) -> int:
        return sum(len(lanes) for agents in self._by_policy.values() for lanes in agents.values())

    def of_policy(self, policy: str) -> Iterator[tuple[int, Any, Lane]]:
        """Environment, agent, lane."""
        for (env, agent), lanes in self._by_policy.get(policy, {}).items():
            for lane in lanes:
                yield env, agent, lane

    def of_environment(self, wanted: int) -> Iterator[Lane]:
        for policy in self._by_policy:
            for env, _, lane in self.of_policy(policy):
                if env == wanted:
                    yield lane

    def open(self, policy: str, env: int, agent: Any) -> Lane | None:
        """That of an agent that has acted and waits for the outcome."""
        lanes = self._by_policy.get(policy, {}).get((env, agent), [])
        return next((lane for lane in lanes if lane.open), None)

    def free(self, policy: str, env: int, agent: Any) -> Lane:
        """For an agent that begins an episode."""
        lanes = self._by_policy.setdefault(policy, {}).setdefault((env, agent), [])
        for lane in lanes:
            if lane.final is None and not lane.open:
                return lane
        self._num_made += 1
        lanes.append(Lane(number=self._num_made))
        return lanes[-1]

    def forget_idle(self) -> None:
        """Agents that have gone, which may never come back."""
        for policy, agents in list(self._by_policy.items()):
            left = {key: [x for x in lanes if not x.idle] for key, lanes in agents.items()}
            self._by_policy[policy] = {key: lanes for key, lanes in left.items() if lanes}
            if not self._by_policy[policy]:
                del self._by_policy[policy]


def episodes_of(rows: Sequence[Row]) -> Iterator[Any]:
    """Those in which a lane has decided anything, one after the other: an agent that comes back has
    the same one twice."""
    is_new = True
    for row in rows:
        is_new = is_new or row.age == 0
        if row.valid and is_new:
            yield row.episode
            is_new = False


def extras_of(extras: Extras, k: int) -> Extras:
    """Those of agent k, of what was said of several."""
    return {name: value[k] for name, value in extras.items()}


def stacked_states(of: Sequence[Lane] | Sequence[Row]) -> State:
    """Each part [B, ...]."""
    return tuple(np.stack([one.state[k] for one in of]) for k in range(len(of[0].state)))


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
