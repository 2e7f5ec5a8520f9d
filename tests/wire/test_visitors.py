"""Who comes, because nobody could dial it."""

from __future__ import annotations

import collections

from actorrl.wire.messages import Kind, Message, Peer
from actorrl.wire.visitors import MAX_VISITORS, Visitors


def visit(name: str) -> Message:
    return Message(Kind.VISIT, "", source=name, incarnation=1)


def test_names_beyond_the_limit_are_counted_and_those_that_are_known_may_come_again():
    drops: collections.Counter[str] = collections.Counter()
    visitors = Visitors(drops)
    for number in range(MAX_VISITORS):
        visitors.came(visit(f"worker/{number}"), b"first")
    visitors.came(visit("one/more"), b"route")
    visitors.came(visit("worker/0"), b"second")
    assert drops == {"visitor beyond the limit": 1}
    assert visitors.way_back("one/more", Peer(1, "", "two")) is None
    assert visitors.way_back("worker/0", Peer(1, "", "two")) == b"second"
