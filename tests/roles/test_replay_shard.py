"""One shard behind a door that the test opens by hand: for whom it samples."""

from __future__ import annotations

import numpy as np
import pytest

from actorrl.data import columns as c
from actorrl.roles.replay_shard import ReplayShard, ShardSettings
from actorrl.runtime.mailbox import Mailbox
from actorrl.runtime.program import Link, Request, Stream
from actorrl.wire.messages import Kind
from tests.runtime.doors import HandDoor

LEARNER, WORKER, SHARD = "learner/0", "rollout/0", "replay/0"
LINKS = {
    link.name: link
    for link in (
        Link("samples", Stream(2), (WORKER,), (SHARD,)),
        Link("replay", Request(2), (LEARNER,), (SHARD,)),
        Link("inserts", Stream(1, full="drop_oldest"), (SHARD,), (LEARNER,)),
    )
}
ROWS = 8  # of a fragment, and of a batch: one batch for each fragment, after the first
SETTINGS = ShardSettings(
    capacity=100, alpha=0.6, min_size=ROWS, samples_per_insert=1.0, tolerance=0.0
)


class World:
    """A shard that has answered one request of the learner, and holds a second."""

    def __init__(self) -> None:
        self.door = HandDoor(SHARD, up=(LEARNER, WORKER))
        self.box = Mailbox(SHARD, 1, "here", self.door, LINKS)
        self.shard = ReplayShard(SETTINGS)
        self.box.adopt(self.shard)
        self.insert()
        self.ask()
        self.ask()
        assert self.served() == [1]

    def insert(self) -> None:
        rows = {c.REWARDS: np.arange(ROWS, dtype=np.float32)}
        self.door.say(Kind.ITEM, "samples", WORKER, {"num_env_steps": ROWS, "episodes": []})
        self.door.arrived[-1].arrays = rows
        self.box.turn(0)

    def ask(self) -> None:
        self.door.say(Kind.REQUEST, "replay", LEARNER, {"num_samples": ROWS}, slot=0)
        self.box.turn(0)

    def served(self) -> list[int]:
        """The incarnations that batches went to."""
        return [to.incarnation for to, sent in self.door.answered if sent.kind is Kind.RESPONSE]


@pytest.fixture
def world() -> World:
    return World()


def test_nothing_is_sampled_for_a_learner_that_was_restarted(world: World) -> None:
    world.door.change(learner_0=2)
    world.insert()
    assert world.served() == [1]
    world.ask()
    assert world.served() == [1, 2]
    assert world.shard._limiter.num_sampled == 2 * ROWS
    assert world.door.drops["request from an old incarnation"] == 1


def test_what_reaches_nobody_does_not_count_for_the_ratio(world: World) -> None:
    world.door.change(learner_0=0)
    world.insert()
    assert world.shard._limiter.num_sampled == ROWS
