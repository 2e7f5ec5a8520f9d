"""Posts: what goes in one datagram, what a full box and a closed one mean."""

from __future__ import annotations

import itertools
import tempfile

import numpy as np
import pytest

from actorrl.wire.messages import Kind, Message
from actorrl.wire.posts import CREDITS, ELEMENTS, MAX_POST_BYTES, Posts, _split, joined
from tests.wire.test_endpoint import World, receive


@pytest.fixture
def boxes():
    with tempfile.TemporaryDirectory(prefix="rt-") as folder:
        made = [Posts(f"ipc://{folder}/{name}") for name in "ab"]
        yield made[0], made[1], f"ipc://{folder}/b"
        for each in made:
            each.close()


@pytest.fixture
def world(memory):
    with tempfile.TemporaryDirectory(prefix="rt-") as folder:
        world = World(folder, memory.address)
        yield world
        for door in world.doors:
            door.close()


def plain(messages):
    return [[bytes(part) for part in parts] for parts in messages]


def test_a_message_comes_out_as_the_parts_that_went_in(boxes):
    a, b, address = boxes
    parts = [b"header", b"", np.arange(6, dtype=np.int16).reshape(2, 3)]
    assert a.send(address, ELEMENTS, parts) and a.send(address, CREDITS, [b"back"])
    assert plain(b.take(b.elements)) == [[b"header", b"", parts[2].tobytes()]]
    assert plain(b.take(b.credits)) == [[b"back"]]
    assert b.take(b.elements) == []


def test_what_is_too_long_for_a_datagram_is_refused(boxes):
    a, _, address = boxes
    assert not a.send(address, ELEMENTS, [bytes(MAX_POST_BYTES)])
    assert a.send(address, ELEMENTS, [bytes(MAX_POST_BYTES - 8)])


def test_a_full_box_keeps_the_words_with_their_sender_in_order(boxes):
    a, b, address = boxes
    for number in range(2000):  # more than a system lets wait in a box
        assert a.send(address, ELEMENTS, [number.to_bytes(4, "little")])
    assert a.retry(1000) < 1000
    got = []
    while len(got) < 2000:
        taken = b.take(b.elements)
        assert taken, "something waits, and does not come"
        got += [int.from_bytes(parts[0], "little") for parts in taken]
        a.retry(0)
    assert got == list(range(2000))
    assert a.retry(1000) == 1000


def test_what_is_posted_to_who_has_gone_is_dropped(boxes):
    a, b, address = boxes
    b.close()
    assert a.send(address, ELEMENTS, [b"x"])
    assert a.retry(1000) == 1000


@pytest.mark.parametrize(
    "datagram",
    [b"", b"\x01", b"\xff\xff\xff\xff", b"\x01\0\0\0\x05\0\0\0four", b"\x02\0\0\0\x04\0\0\0four"],
)
def test_a_malformed_datagram_has_no_parts(datagram):
    assert _split(datagram) == []


def test_no_bytes_make_the_split_fail():
    good = joined([b"ab", b"c"])
    for at, value in itertools.product(range(len(good)), (0, 1, 0x7F, 0xFF)):
        _split(good[:at] + bytes([value]) + good[at + 1 :])
        _split(good[:at])


def test_elements_that_cannot_be_posted_keep_their_order(world):
    a, b = world.add("a"), world.add("b")
    bodies = ["small", "x" * MAX_POST_BYTES, "small again"]
    for slot, body in enumerate(bodies):
        assert a.send("b", Message(Kind.ITEM, "link", body, slot=slot), num_slots=3)
    got = receive(b, 3)
    assert [message.body for message in got] == bodies
    for message in got:
        assert b.answer(message, Message(Kind.CREDIT, "link", slot=message.slot))
    credits = receive(a, 3, answers_only=True)
    assert sorted(message.slot for message in credits) == [0, 1, 2]


def test_a_malformed_post_is_counted_and_heard_by_nobody(world):
    a, b = world.add("a"), world.add("b")
    a._inside.posts.send(world.table["b"].address, ELEMENTS, [b"no header"])
    a.send("b", Message(Kind.ITEM, "link", 1, slot=0), num_slots=1)
    (message,) = receive(b)
    assert message.body == 1 and b.drops["malformed"] == 1
