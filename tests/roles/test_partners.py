"""The lead of several learners waits for its partners, but for nobody for ever."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from actorrl.algorithms.a2c import A2CUpdate
from actorrl.roles import partners
from actorrl.roles.synchronous_learner import SynchronousLearner
from actorrl.runtime.actor import Actor
from actorrl.runtime.links import Asked
from actorrl.runtime.program import Program, Request, State
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


class Silent(Actor):
    """A partner that is up and does not answer."""

    def serve_shares(self, asked: Asked) -> None:
        self.asked = asked


def program() -> Program:
    config, info = worlds.configured("A2C", COUNTING)
    update = functools.partial(A2CUpdate, config, info, 0)
    made = Program("partners")
    lead = made.add("learner", SynchronousLearner, worlds.learner(update, 8))
    partner = made.add("learner", Silent)
    workers = made.add_group("rollout", worlds.Asked, count=1)
    made.link("shares", Request(1), lead, partner)
    made.link("samples", Request(2), lead, workers)
    made.link("weights", State(), lead, workers)
    return made


def with_a_round(cluster: Any) -> Any:
    """The future of an iteration for whose batch there are rows enough."""
    future = worlds.begin(cluster)
    worlds.poll(cluster)
    worlds.actor(cluster, "rollout/0").answer()
    worlds.poll(cluster)
    return future


def test_the_first_batch_waits_for_all_partners_and_for_none_that_is_down() -> None:
    with worlds.running(program()) as cluster:
        future = with_a_round(cluster)
        assert not future.done() and worlds.actor(cluster).tally.num_updates == 0
        worlds.lose(cluster, "learner/1")
        worlds.poll(cluster)
        report = future.result()
    assert report["num_updates"] == 1
    assert report["counters"]["num_learners"] == 1 and report["counters"]["num_rows_lost"] == 0


def test_a_partner_that_is_up_and_does_not_answer_is_waited_for_for_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partners, "PATIENCE_S", 0.2)
    monkeypatch.setattr(partners, "LOOK_S", 0.01)
    with worlds.running(program()) as cluster:
        future = with_a_round(cluster)
        worlds.poll_until(cluster, future.done)
        assert future.result()["counters"]["num_learners"] == 1
