"""The frame ring against a plain list of all frames ever added."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorrl.replay.frame_store import FRAME_STORES, LZ4FrameStore

STORES = pytest.mark.parametrize("make", FRAME_STORES.values())


@STORES
@given(capacity=st.integers(1, 20), sizes=st.lists(st.integers(0, 20), max_size=15))
@settings(max_examples=100, deadline=None)
def test_the_newest_frames_are_held_under_their_absolute_numbers(make, capacity, sizes):
    store, plain = make(capacity, (2, 3), np.int64), []
    for size in sizes:
        size = min(size, capacity)
        frames = np.arange(len(plain), len(plain) + size)[:, None, None] * np.ones((2, 3), np.int64)
        assert store.add(frames) == len(plain)
        plain.extend(frames)
        store.check_valid()
        assert store.next == len(plain)
        assert store.oldest == max(0, len(plain) - capacity)
        held = np.arange(store.oldest, store.next)
        assert (store.gather(held)[:, 0, 0] == held).all()


@STORES
def test_stacks_are_gathered_in_the_order_of_their_numbers(make):
    store = make(10, (1,))
    store.add(np.arange(10, dtype=np.uint8)[:, None])
    stacks = store.gather(np.array([[3, 4, 5], [7, 7, 9]]))
    assert stacks[..., 0].tolist() == [[3, 4, 5], [7, 7, 9]]


@STORES
def test_gather_fills_a_given_array(make):
    store = make(4, (2, 2))
    store.add(np.arange(16, dtype=np.uint8).reshape(4, 2, 2))
    out = np.zeros((1, 2, 2, 2), np.uint8)
    assert store.gather(np.array([[1, 2]]), out) is out
    assert out.ravel().tolist() == list(range(4, 12))


@STORES
@pytest.mark.parametrize("number", [0, 5, -1])
def test_a_frame_that_is_not_held_is_refused(make, number):
    store = make(4, (1,))
    store.add(np.zeros((2, 1), np.uint8))
    store.add(np.zeros((3, 1), np.uint8))
    with pytest.raises(IndexError, match=r"1\.\.4"):
        store.gather(np.array([number]))


@STORES
@pytest.mark.parametrize(
    "frames", [np.zeros((1, 3), np.uint8), np.zeros((1, 2), np.float32), np.zeros((5, 2), np.uint8)]
)
def test_frames_of_another_shape_or_type_or_too_many_are_refused(make, frames):
    store = make(4, (2,))
    with pytest.raises(ValueError, match="frames"):
        store.add(frames)
    assert store.next == 0


def test_compressed_frames_take_what_their_content_needs():
    store = LZ4FrameStore(8, (84, 84))
    empty = store.nbytes
    store.add(np.zeros((4, 84, 84), np.uint8))
    plain = store.nbytes - empty
    assert plain < 4 * 84 * 84 / 50
    noise = np.random.default_rng(0).integers(0, 256, (8, 84, 84), dtype=np.uint8)
    store.add(noise)
    store.check_valid()
    assert store.nbytes - empty > 8 * 84 * 84
    assert (store.gather(np.arange(4, 12)) == noise).all()
    store.add(np.zeros((8, 84, 84), np.uint8))
    assert store.nbytes - empty == 2 * plain
