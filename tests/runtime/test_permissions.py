"""Who listens, who visits, and who may say what: from the Program alone."""

from __future__ import annotations

from actorrl.runtime.permissions import allowed, listeners, started_with, starters
from actorrl.runtime.program import Link, Report, Request, State, Stream
from actorrl.runtime.refs import DRIVER
from actorrl.wire.messages import Kind

WORKERS = tuple(f"worker/{i}" for i in range(300))
SHARDS = ("shard/0", "shard/1")
LEARNER = ("learner/0",)
LINKS = {
    link.name: link
    for link in (
        Link("samples", Stream(2), WORKERS, SHARDS),
        Link("batches", Request(4), LEARNER, SHARDS),
        Link("rounds", Request(1), LEARNER, WORKERS),
        Link("weights", State(), LEARNER, WORKERS),
        Link("metrics", Report(), WORKERS, (DRIVER,)),
    )
}


def test_the_few_listen_and_the_many_visit_them():
    assert listeners(LINKS, {}) == {DRIVER, *SHARDS, *LEARNER}


def test_of_as_many_on_both_ends_the_targets_listen():
    one = {"samples": Link("samples", Stream(2), ("worker/0",), ("learner/0",))}
    assert listeners(one, {}) == {DRIVER, "learner/0"}


def test_who_is_called_by_somebody_that_does_not_listen_does():
    assert "worker/7" in listeners(LINKS, {"worker/7": ["worker/8"]})
    assert "worker/7" not in listeners(LINKS, {"worker/7": ["learner/0"]})


def test_of_two_that_talk_one_listens_and_the_other_knows_it():
    found = listeners(LINKS, {})
    for link in LINKS.values():
        for source in link.sources:
            for target in link.targets:
                assert isinstance(link.kind, State) or found & {source, target}
                if target not in found and not isinstance(link.kind, State):
                    assert source in starters(target, LINKS, [])
    assert starters("worker/3", LINKS, ["shard/0"]) == {DRIVER, "learner/0", "shard/0"}
    assert started_with("worker/3", LINKS) == {*SHARDS, DRIVER}
    allow = allowed("worker/3", LINKS, [])
    assert allow("learner/0", Kind.REQUEST, "rounds")
    assert not allow("learner/0", Kind.REQUEST, "batches")
