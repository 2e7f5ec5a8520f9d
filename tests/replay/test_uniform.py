"""Uniform replay."""

import numpy as np
import pytest

from actorrl.replay.frame_store import RingFrameStore
from actorrl.replay.prioritized import PROBABILITIES
from actorrl.replay.uniform import UniformReplay


def test_every_held_row_is_sampled_equally_often():
    replay = UniformReplay(20, seed=0)
    for start in range(0, 50, 5):
        replay.add({"x": np.arange(start, start + 5)}, np.arange(5.0))
        replay.check_valid()
    batch = replay.sample(20_000)
    counts = np.bincount(batch["x"] - 30, minlength=20)
    expected = 1000
    assert ((counts - expected) ** 2 / expected).sum() < 50  # 19 degrees of freedom: 1 in 10,000
    assert (batch[PROBABILITIES] == 1 / 20).all()
    assert (batch["batch_indexes"] == batch["x"]).all()


def test_ids_of_lost_rows_are_counted():
    replay = UniformReplay(4)
    first = replay.add({"x": np.arange(3)})
    second = replay.add({"x": np.arange(3)})
    assert replay.update_priorities(np.concatenate([first, second]), np.ones(6)) == 2


def test_rows_whose_frames_are_gone_are_not_sampled():
    replay = UniformReplay(100, frame_store=RingFrameStore(10, (1,)))
    rows = {"obs_frames": np.arange(4)[:, None], "new_obs_frames": np.arange(1, 5)[:, None]}
    for value in range(6):
        replay.add(rows, frames=np.full((5, 1, 1), value, np.uint8))
        replay.check_valid()
    assert len(replay) == 8
    assert set(replay.sample(200)["obs"].ravel().tolist()) == {4, 5}


def test_an_empty_replay_refuses_to_be_sampled():
    with pytest.raises(ValueError, match="empty"):
        UniformReplay(10).sample(1)
