"""What processes have counted of other hosts, summed by role over all their incarnations."""

from __future__ import annotations

from actorrl.runtime.traffic import TrafficBook


def counts(wire: int, refused: int = 0) -> dict[str, int]:
    return {"bytes_wire": wire, "refused_handshakes": refused}


def test_counts_are_summed_by_role_over_restarts():
    book = TrafficBook(lambda event, **details: None)
    assert book.by_role() == {}
    book.heard("rollout/0", 1, counts(10))
    book.heard("rollout/0", 1, counts(30))
    book.heard("rollout/1", 1, counts(5))
    book.heard("rollout/0", 2, counts(100))  # a new process counts from nothing
    book.heard("driver", 0, counts(7))
    assert book.by_role() == {"driver": counts(7), "rollout": counts(135)}
    book.heard("rollout/0", 3, counts(1))
    assert book.by_role()["rollout"] == counts(136)


def test_refusals_are_events_and_each_is_told_once():
    events: list[tuple[str, object, object]] = []
    book = TrafficBook(lambda event, **d: events.append((event, d["actor"], d["count"])))
    book.heard("replay/0", 1, counts(0))
    book.heard("replay/0", 1, counts(0, refused=2))
    book.heard("replay/0", 1, counts(9, refused=2))
    book.heard("replay/0", 2, counts(0, refused=1))
    told = ("strangers_refused", "replay/0")
    assert events == [(*told, 2), (*told, 1)]
