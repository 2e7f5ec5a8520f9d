"""A fragment of several agents: what their lanes hold, as a group of columns for each policy.

Letters: T ticks of a fragment, B lanes of a policy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from actorrl.rollouts.collector import ActingPolicy
from actorrl.rollouts.lanes import (
    Columns,
    Lanes,
    Row,
    episodes_of,
    extras_of,
    stack,
    stacked_states,
)
from actorrl.rollouts.pieces import Owner


class _Taken(NamedTuple):
    """Out of a lane."""

    agent: Any
    number: int  # the lane's
    rows: list[Row]


class Harvest:
    """One fragment's, policy by policy; a policy none of whose agents has decided anything has no
    group. `version` is that of the weights that acted; of whole episodes the oldest."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.groups: dict[str, Columns] = {}
        self.numbers: dict[str, list[int]] = {}  # of each group's lanes
        self.owners: dict[str, list[Owner]] = {}  # of each group's pieces, lane by lane

    def take(self, name: str, policy: ActingPolicy, lanes: Lanes, num_rows: int) -> None:
        """The policy's rows of the last T ticks, and those behind them: padded to `num_rows`."""
        found: list[_Taken] = []
        asked: list[Row] = []
        for _, agent, lane in lanes.of_policy(name):
            rows, behind = lane.take()
            found.append(_Taken(agent, lane.number, rows))
            if behind is not None:
                asked.append(behind)
        if asked:
            _bootstrap(policy, asked)
        self._put(name, found, num_rows)

    def take_whole(self, name: str, lanes: Lanes) -> None:
        """What the policy's agents have lived through from beginning to end."""
        found = [_Taken(a, lane.number, lane.take_whole()) for _, a, lane in lanes.of_policy(name)]
        self.version = min([self.version, *(each.rows[0].version for each in found if each.rows)])
        self._put(name, found, max((len(each.rows) for each in found), default=0))

    def _put(self, name: str, found: list[_Taken], num_rows: int) -> None:
        found = [each for each in found if each.rows]
        if found:
            self.groups[name] = stack([each.rows for each in found], num_rows)
            self.numbers[name] = [each.number for each in found]
            self.owners[name] = [
                Owner(episode, each.agent) for each in found for episode in episodes_of(each.rows)
            ]


def _bootstrap(policy: ActingPolicy, rows: list[Row]) -> None:
    """What the policy says of the observations behind the last decisions (their values)."""
    obs = np.stack([row.obs for row in rows])
    act = policy.act(obs, stacked_states(rows), False)
    for k, row in enumerate(rows):
        row.extras = extras_of(act.extras, k)
