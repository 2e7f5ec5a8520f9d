"""What a fragment takes out of the lanes of several agents."""

from __future__ import annotations

import numpy as np

from actorrl.data import columns as c
from actorrl.policies.base import Act, Policy
from actorrl.rollouts.harvest import Harvest
from actorrl.rollouts.lanes import Lanes
from actorrl.rollouts.policy_mapping import EpisodeInfo


class Counting(Policy):
    """Says of each observation how often it was asked."""

    def __init__(self) -> None:
        self.num_asked = 0

    def act(self, obs, state=(), explore=True):
        self.num_asked += 1
        asked = np.full(len(obs), self.num_asked, np.float32)
        return Act(np.zeros(len(obs), np.int64), {c.VF_PREDS: asked}, state)


def lanes_of(steps: int, version: int, ended: bool = False) -> Lanes:
    """Of one agent of policy "a" that has decided so often."""
    lanes = Lanes()
    lane = lanes.free("a", 0, "agent")
    lane.begin(np.zeros(2, np.float32), (), EpisodeInfo(1, 0))
    for step in range(1, steps + 1):
        lane.acted(np.int64(0), {c.VF_PREDS: np.float32(0)}, (), version)
        lane.outcome(np.full(2, step, np.float32), ended and step == steps, False)
    if ended:
        lane.acted(np.int64(0), {c.VF_PREDS: np.float32(0)}, (), version)
    return lanes


def test_the_row_behind_the_last_decision_has_what_the_policy_says_of_it():
    harvest, policy = Harvest(7), Counting()
    harvest.take("a", policy, lanes_of(3, version=5), 5)
    assert harvest.groups["a"][c.VF_PREDS][:, 0].tolist() == [0, 0, 0, 1, 0]
    assert harvest.groups["a"][c.VALID][:, 0].tolist() == [True, True, True, False, False]
    assert [(owner.episode.episode_id, owner.agent) for owner in harvest.owners["a"]] == [
        (1, "agent")
    ]
    assert (harvest.numbers, harvest.version, policy.num_asked) == ({"a": [1]}, 7, 1)


def test_a_policy_that_has_decided_nothing_has_no_group_and_is_not_asked():
    harvest, policy = Harvest(7), Counting()
    harvest.take("a", policy, lanes_of(0, version=5), 5)
    harvest.take("nobody's", policy, lanes_of(3, version=5), 5)
    harvest.take_whole("nobody's", lanes_of(3, version=5))
    assert (harvest.groups, harvest.numbers, harvest.owners) == ({}, {}, {})
    assert policy.num_asked == 0


def test_whole_episodes_are_as_old_as_the_first_version_that_acted_in_them():
    harvest = Harvest(7)
    harvest.take_whole("a", lanes_of(3, version=5, ended=True))
    assert harvest.version == 5 and harvest.groups["a"][c.VALID].shape == (4, 1)
    under_way = Harvest(7)
    under_way.take_whole("a", lanes_of(3, version=5))
    assert under_way.version == 7 and not under_way.groups
