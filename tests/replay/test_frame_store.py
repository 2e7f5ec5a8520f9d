"""The frame ring against a plain list of all frames ever added."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorrl.replay.frame_store import RingFrameStore


@given(capacity=st.integers(1, 20), sizes=st.lists(st.integers(0, 20), max_size=15))
@settings(max_examples=100, deadline=None)
def test_the_newest_frames_are_held_under_their_absolute_numbers(capacity, sizes):
    store, plain = RingFrameStore(capacity, (2, 3), np.int64), []
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


def test_stacks_are_gathered_in_the_order_of_their_numbers():
    store = RingFrameStore(10, (1,))
    store.add(np.arange(10, dtype=np.uint8)[:, None])
    stacks = store.gather(np.array([[3, 4, 5], [7, 7, 9]]))
    assert stacks[..., 0].tolist() == [[3, 4, 5], [7, 7, 9]]


def test_gather_fills_a_given_array():
    store = RingFrameStore(4, (2, 2))
    store.add(np.arange(16, dtype=np.uint8).reshape(4, 2, 2))
    out = np.zeros((1, 2, 2, 2), np.uint8)
    assert store.gather(np.array([[1, 2]]), out) is out
    assert out.ravel().tolist() == list(range(4, 12))


@pytest.mark.parametrize("number", [0, 5, -1])
def test_a_frame_that_is_not_held_is_refused(number):
    store = RingFrameStore(4, (1,))
    store.add(np.zeros((2, 1), np.uint8))
    store.add(np.zeros((3, 1), np.uint8))
    with pytest.raises(IndexError, match=r"1\.\.4"):
        store.gather(np.array([number]))


@pytest.mark.parametrize(
    "frames", [np.zeros((1, 3), np.uint8), np.zeros((1, 2), np.float32), np.zeros((5, 2), np.uint8)]
)
def test_frames_of_another_shape_or_type_or_too_many_are_refused(frames):
    store = RingFrameStore(4, (2,))
    with pytest.raises(ValueError, match="frames"):
        store.add(frames)
    assert store.next == 0
