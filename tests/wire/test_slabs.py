"""Slabs: slots are reused on credit, regrown under a new generation, and given back."""

from __future__ import annotations

import numpy as np
import pytest

from actorrl import copies
from actorrl.errors import WireError
from actorrl.wire.slabs import SlabReader, SlabWriter, has_end, memory_name, slab_name

PRODUCER, CONSUMER = "producer/0.1", "consumer/0.1"
NAME = slab_name(PRODUCER, "link", CONSUMER)


def write(writer: SlabWriter, slot: int, *arrays: np.ndarray) -> list[int]:
    offsets = writer.write(slot, {str(i): array for i, array in enumerate(arrays)})
    assert offsets is not None
    return offsets


def opened(reader: SlabReader, generation: int) -> np.ndarray:
    return reader.open("producer/0", 1, "link", generation)


def look(slab: np.ndarray, offset: int, like: np.ndarray) -> np.ndarray:
    return slab[offset : offset + like.nbytes].view(like.dtype).reshape(like.shape)


def test_what_is_written_into_a_slot_is_read_there(client):
    writer, reader = SlabWriter(client, NAME, 2), SlabReader(client, CONSUMER)
    a, b = np.arange(100, dtype=np.float32).reshape(10, 10), np.array(7, np.int64)
    places = [write(writer, slot, a + slot, b + slot) for slot in (0, 1)]
    slab = opened(reader, writer.generation)
    for slot, (at_a, at_b) in enumerate(places):
        np.testing.assert_array_equal(look(slab, at_a, a), a + slot)
        assert look(slab, at_b, b) == 7 + slot
        assert at_a % 64 == 0 and at_b % 64 == 0


def test_a_slot_whose_credit_came_back_is_used_again_and_no_other_is_touched(client):
    writer, reader = SlabWriter(client, NAME, 3), SlabReader(client, CONSUMER)
    array = np.zeros(1000)
    places = [write(writer, slot, array + slot)[0] for slot in range(3)]
    assert write(writer, 1, array + 9) == [places[1]]
    slab = opened(reader, 1)
    assert [look(slab, place, array)[0] for place in places] == [0, 9, 2]


def test_a_reader_cannot_write(client):
    writer = SlabWriter(client, NAME, 1)
    write(writer, 0, np.zeros(10))
    assert not opened(SlabReader(client, CONSUMER), 1).flags.writeable


def test_an_element_that_does_not_fit_makes_a_new_generation(client):
    writer, reader = SlabWriter(client, NAME, 2), SlabReader(client, CONSUMER)
    write(writer, 0, np.full(10, 1.0))
    old = opened(reader, 1)
    place = write(writer, 1, np.full(10_000, 2.0))[0]
    assert writer.generation == 2
    assert look(old, 0, np.zeros(10)).tolist() == [1.0] * 10  # still in flight, still good
    assert look(opened(reader, 2), place, np.zeros(1))[0] == 2.0


def taken(writer: SlabWriter, slot: int, array: np.ndarray) -> np.ndarray:
    """The same numbers in an array that the slot's own memory has room for, or another."""
    filled = writer.room(slot).take(array.shape, array.dtype)
    filled[...] = array
    return filled


def test_an_array_that_was_filled_in_its_slot_is_not_copied(client, monkeypatch):
    monkeypatch.setattr(copies, "COUNTING", True)
    copies.count("frames", "obs")
    copies.clear()
    writer, reader = SlabWriter(client, NAME, 2), SlabReader(client, CONSUMER)
    frames, small = np.arange(10_000, dtype=np.int32), np.array([3.0])
    for round in range(3):  # the first finds no memory yet
        filled = taken(writer, 1, frames + round)
        sent = filled[:] if round == 2 else filled  # another view of it, or the very array
        offsets = writer.write(1, {"p/frames": sent, "p/obs": small})
        slab = opened(reader, writer.generation)
        np.testing.assert_array_equal(look(slab, offsets[0], frames), frames + round)
        assert look(slab, offsets[1], small) == 3.0
    assert writer.generation == 1
    # what passed, and what was copied: the frames once, in the first round
    assert copies.totals()["message"] == [3 * 40_008, 40_000 + 3 * 8]


def test_a_message_that_outgrows_the_slot_that_it_was_begun_in_is_whole(client):
    writer, reader = SlabWriter(client, NAME, 1), SlabReader(client, CONSUMER)
    write(writer, 0, np.zeros(1000))
    filled, more = taken(writer, 0, np.arange(1000.0)), np.arange(500.0)
    offsets = write(writer, 0, more, filled)
    slab = opened(reader, 2)
    np.testing.assert_array_equal(look(slab, offsets[0], more), more)
    np.testing.assert_array_equal(look(slab, offsets[1], filled), np.arange(1000.0))


def test_what_was_filled_in_before_another_message_outgrew_the_slab_is_whole(client):
    writer, reader = SlabWriter(client, NAME, 2), SlabReader(client, CONSUMER)
    write(writer, 0, np.zeros(1000))
    filled = taken(writer, 0, np.arange(1000.0))  # the answer to a request that waits
    write(writer, 1, np.zeros(10_000))  # that to another
    (offset,) = write(writer, 0, filled)
    found = look(opened(reader, writer.generation), offset, filled)
    np.testing.assert_array_equal(found, np.arange(1000.0))


def test_what_does_not_lie_in_its_own_slot_as_a_reader_expects_it_is_copied(client):
    writer, reader = SlabWriter(client, NAME, 2), SlabReader(client, CONSUMER)
    write(writer, 0, np.zeros(4000))
    write(writer, 1, np.zeros(4000))
    filled = taken(writer, 0, np.arange(1000.0))
    for part in (filled, filled[1:], filled[::2]):  # of another slot; not aligned; not in one piece
        expected = part.copy()
        (offset,) = write(writer, 1, part)
        found = look(opened(reader, writer.generation), offset, expected)
        np.testing.assert_array_equal(found, expected)
        assert offset % 64 == 0
    (offset,) = write(writer, 0, filled[1:])
    found = look(opened(reader, writer.generation), offset, filled[1:])
    np.testing.assert_array_equal(found, np.arange(1.0, 1000.0))


def test_old_generations_are_given_back_once_no_slot_is_in_flight_in_them(client, memory):
    writer = SlabWriter(client, NAME, 2)
    write(writer, 0, np.zeros(10))
    write(writer, 1, np.zeros(10))
    write(writer, 0, np.zeros(1000))  # slot 1 may still be read in generation 1
    assert memory.server.num_held == 2
    write(writer, 1, np.zeros(1000))
    assert memory.server.num_held == 1
    for size in range(2000, 20_000, 1000):
        write(writer, 0, np.zeros(size))
        write(writer, 1, np.zeros(size))
    assert memory.server.num_held == 1


def test_the_memory_of_an_ended_incarnation_is_forgotten_at_both_ends(client, memory):
    for name in (
        "a/1.1/link/b/0.1",  # from it
        "b/0.1/back/a/1.1",  # to it
        "a/1.2/link/b/0.1",  # its successor's
        "a/11.1/link/b/0.1",  # another's
        "state/a",
    ):
        client.create(memory_name(name, 1), 100)
    memory.server.forget(lambda name: has_end(name, "a/1.1"))
    assert memory.server.num_held == 3
    with pytest.raises(KeyError):
        client.open(memory_name("b/0.1/back/a/1.1", 1))
    client.open(memory_name("a/11.1/link/b/0.1", 1))


def test_an_unknown_slab_is_a_wire_error(client):
    with pytest.raises(WireError, match="no generation 3"):
        opened(SlabReader(client, CONSUMER), 3)


def test_memory_that_the_host_does_not_have_makes_the_writer_fall_back(client):
    huge = np.broadcast_to(np.zeros(1), 2**47)  # a petabyte, of which one element exists
    assert SlabWriter(client, NAME, 2).write(0, {"huge": huge}) is None
    client.create("small", 64)  # and the line to the server goes on
