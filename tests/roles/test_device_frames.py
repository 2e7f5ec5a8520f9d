"""Frames on the learner's device, with the CPU as the device: the same batches, without a copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actorrl.data import columns as c
from actorrl.replay.buffer import BufferSettings
from actorrl.replay.frame_store import RingFrameStore
from actorrl.roles.batch import ReusedMemory
from actorrl.roles.device_frames import DeviceFrameStore

SHAPE = (5, 4)


def frames_of(count: int, seed: int = 0) -> np.ndarray:
    made: np.ndarray = np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)
    made.flags.writeable = False  # as what comes out of shared memory
    return made


def test_it_holds_and_forgets_what_the_ring_in_host_memory_does() -> None:
    ring, store = RingFrameStore(7, SHAPE), DeviceFrameStore(7, SHAPE)
    for seed, count in enumerate([3, 0, 7, 2, 6]):
        frames = frames_of(count, seed)
        assert store.add(frames) == ring.add(frames)
        assert (store.oldest, store.next) == (ring.oldest, ring.next)
        store.check_valid()
        held = np.arange(ring.oldest, ring.next)[:, None]
        np.testing.assert_array_equal(store.gather(held), ring.gather(held))
        out = np.empty((len(held), 1, *SHAPE), np.uint8)
        assert store.gather(held, out) is out and (out == ring.gather(held)).all()
    assert (store.nbytes, store.dtype, store.frame_shape) == (ring.nbytes, ring.dtype, SHAPE)


@pytest.mark.parametrize("number", [0, 5, -1])
def test_a_frame_that_is_not_held_is_refused(number: int) -> None:
    store = DeviceFrameStore(4, SHAPE)
    store.add(frames_of(2))
    store.add(frames_of(3))
    with pytest.raises(IndexError, match=r"1\.\.4"):
        store.gather(np.array([number]))


@pytest.mark.parametrize("wrong", [np.zeros((1, 3), np.uint8), np.zeros((5, *SHAPE), np.uint8)])
def test_frames_that_do_not_fit_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="in a store of"):
        DeviceFrameStore(4, SHAPE).add(wrong)


def rows(count: int) -> dict[str, np.ndarray]:
    """Each row's stack is its frame and the one before it."""
    newest = 1 + np.arange(count)
    stack = np.stack([newest - 1, newest], axis=1)
    return {
        c.OBS_FRAMES: stack,
        c.NEXT_OBS_FRAMES: np.minimum(stack + 1, count),
        c.REWARDS: np.arange(count, dtype=np.float32),
        c.FRAMES: frames_of(count + 1),
    }


@pytest.mark.parametrize("alpha", [None, 0.6])
def test_a_batch_is_the_same_and_its_stacks_are_on_the_device(alpha: float | None) -> None:
    batches = []
    for storage in ("raw", "cuda"):
        settings = BufferSettings(capacity=50, alpha=alpha, num_frames=60, storage=storage, seed=3)
        on_device = DeviceFrameStore if storage == "cuda" else None
        replay = settings.make(rows(40), on_device=on_device)
        settings.add(replay, rows(40), stream="w")
        memory = ReusedMemory("cpu")
        batches.append({k: memory.to_device(v) for k, v in replay.sample(16, memory.take).items()})
        taken = [array.shape for array in memory._arrays]
        assert any(len(shape) == 4 for shape in taken) == (storage == "raw")
    assert batches[0].keys() == batches[1].keys()
    assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])
