"""Who is up, and who may still be heard."""

from __future__ import annotations

import collections

from actorrl.wire.messages import Kind, Message, Peer
from actorrl.wire.peers import Peers
from actorrl.wire.visitors import Visitors

NEAR, FAR, VISITOR = Peer(1, "a", "one"), Peer(1, "b", "two", tcp="tcp://b"), Peer(3, "", "two")


def peers_of(table: dict[str, Peer], host: str = "one") -> Peers:
    visitors = Visitors(collections.Counter())
    peers = Peers(visitors)
    peers.replace(table)
    visitors.look(table, host)
    return peers


def message(kind: Kind, source: str, incarnation: int) -> Message:
    return Message(kind, "", source=source, incarnation=incarnation)


def test_a_new_table_names_those_that_are_new_gone_or_another_now():
    peers = peers_of({"stays": NEAR, "goes": NEAR, "again": NEAR})
    again = Peer(2, "a", "one")
    assert peers.replace({"stays": NEAR, "again": again, "comes": FAR}) == [
        "again",
        "comes",
        "goes",
    ]


def test_who_has_still_to_come_is_not_up_and_has_no_incarnation():
    peers = peers_of({"near": NEAR, "far": FAR, "visitor": VISITOR})
    assert peers.up("near") is NEAR and peers.up("far!") is FAR
    assert peers.up("visitor") is peers.up("visitor!") is peers.up("nobody") is None
    assert [peers.incarnation_of(name) for name in ("near", "visitor", "nobody")] == [1, 0, 0]


def test_an_answer_is_heard_of_the_process_that_was_asked_alone():
    peers = peers_of({"a": Peer(2, "a", "one")})
    heard = [peers.is_current(message(Kind.REPLY, "a", number)) for number in (1, 2, 3)]
    assert heard == [False, True, False]
    assert not peers.is_current(message(Kind.REPLY, "nobody", 1))


def test_what_another_starts_is_heard_unless_its_successor_is_up_already():
    peers = peers_of({"a": Peer(2, "a", "one")})
    heard = [peers.is_current(message(Kind.CALL, "a", number)) for number in (1, 2, 3)]
    assert heard == [False, True, True]
    assert peers.is_current(message(Kind.CALL, "nobody", 1)), "it may be ahead of the table"
