"""What processes have counted, summed by role over all their incarnations."""

from __future__ import annotations

import collections

from actorrl.runtime.traffic import TrafficBook, total


def counts(wire: int, refused: int = 0) -> dict[str, int]:
    return {"bytes_wire": wire, "refused_handshakes": refused}


def test_counts_are_summed_by_role_over_restarts():
    book = TrafficBook(lambda event, **details: None)
    assert book.network() == {}
    book.heard("rollout/0", 1, counts(10), {})
    book.heard("rollout/0", 1, counts(30), {})
    book.heard("rollout/1", 1, counts(5), {})
    book.heard("rollout/0", 2, counts(100), {})  # a new process counts from nothing
    book.heard("driver", 0, counts(7), {})
    assert book.network() == {"driver": counts(7), "rollout": counts(135)}
    book.heard("rollout/0", 3, counts(1), {})
    assert book.network()["rollout"] == counts(136)


def test_refusals_are_events_and_each_is_told_once():
    events: list[tuple[str, object, object]] = []
    book = TrafficBook(lambda event, **d: events.append((event, d["actor"], d["count"])))
    book.heard("replay/0", 1, counts(0), {})
    book.heard("replay/0", 1, counts(0, refused=2), {})
    book.heard("replay/0", 1, counts(9, refused=2), {})
    book.heard("replay/0", 2, counts(0, refused=1), {})
    told = ("strangers_refused", "replay/0")
    assert events == [(*told, 2), (*told, 1)]


def test_drops_are_summed_by_role_and_reason_and_what_never_happened_is_left_out():
    book = TrafficBook(lambda event, **details: None)
    book.heard("rollout/0", 1, {}, {"malformed": 2, "not allowed": 0})
    book.heard("rollout/0", 2, {}, {"malformed": 3})
    book.heard("rollout/1", 1, {}, {"not allowed": 1})
    book.heard("learner/0", 1, {}, {})
    book.heard("replay/0", 1, {}, {"malformed": 0, "made up": -1})
    assert book.drops() == {"rollout": {"malformed": 5, "not allowed": 1}}
    assert book.network() == {}


def test_the_rooms_of_a_process_are_counted_together():
    here, there = collections.Counter({"malformed": 1, "never": 0}), {"malformed": 2, "lost": 3}
    assert total(here, there) == {"malformed": 3, "lost": 3} and here["malformed"] == 1
    assert total(collections.Counter()) == {}
