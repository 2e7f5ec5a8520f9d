"""The estimate against what a full buffer takes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from actorrl.data import columns as c
from actorrl.replay.buffer import BufferSettings
from actorrl.replay.footprint import footprint


def rows(obs: np.ndarray, frame_stack: int) -> dict[str, np.ndarray]:
    n = len(obs)
    columns = {
        c.ACTIONS: np.zeros(n, np.int64),
        c.REWARDS: np.zeros(n, np.float32),
        c.DISCOUNTS: np.zeros(n, np.float32),
    }
    if frame_stack == 1:
        return {**columns, c.OBS: obs, c.NEXT_OBS: obs}
    numbers = np.repeat(np.arange(n)[:, None], frame_stack, axis=1)
    return {**columns, c.FRAMES: obs, c.OBS_FRAMES: numbers, c.NEXT_OBS_FRAMES: numbers}


@pytest.mark.parametrize("alpha", [None, 0.6])
@pytest.mark.parametrize("capacity", [1, 256, 257])
@pytest.mark.parametrize(
    ("shape", "dtype", "frame_stack"), [((4,), np.float32, 1), ((84, 84), np.uint8, 4)]
)
def test_the_estimate_is_what_a_full_buffer_takes(alpha, capacity, shape, dtype, frame_stack):
    num_frames = 2 * capacity if frame_stack > 1 else 0
    settings = BufferSettings(capacity=capacity, alpha=alpha, num_frames=num_frames)
    full = rows(np.zeros((capacity, *shape), dtype), frame_stack)
    replay = settings.make(full)
    settings.add(replay, full, stream=0)
    obs_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    found = footprint(settings, obs_bytes, action_bytes=8, frame_stack=frame_stack)
    assert found.num_bytes == replay.nbytes
    assert found.arithmetic.endswith(f"= {replay.nbytes:,} B")


def test_frames_on_a_gpu_take_nothing_of_the_host():
    settings = BufferSettings(capacity=256, alpha=None, num_frames=512, storage="cuda")
    found = footprint(settings, obs_bytes=7056, action_bytes=8, frame_stack=4)
    plain = footprint(dataclasses.replace(settings, storage="raw"), 7056, 8, 4)
    assert "512 frames x 0 B (storage cuda: 7,056 B each on the GPU)" in found.arithmetic
    assert found.num_bytes == plain.num_bytes - 512 * 7056


def test_compressed_frames_are_assumed_to_shrink_to_a_quarter_and_do():
    settings = BufferSettings(capacity=256, alpha=None, num_frames=512, storage="lz4")
    full = rows(np.zeros((256, 84, 84), np.uint8), frame_stack=4)
    replay = settings.make(full)
    settings.add(replay, full, stream=0)
    found = footprint(settings, obs_bytes=7056, action_bytes=8, frame_stack=4)
    assert "512 frames x 1,764 B (storage lz4: 1/4 assumed)" in found.arithmetic
    assert replay.nbytes < found.num_bytes
    batch = replay.sample(4)
    assert batch[c.OBS].shape == (4, 4, 84, 84) and not batch[c.OBS].any()
