"""Chunks: whatever is split comes back, and nothing is longer than allowed."""

from __future__ import annotations

import numpy as np
import pytest

from actorrl.errors import WireError
from actorrl.wire import chunks


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 8)


@pytest.mark.parametrize("sizes", [(), (0,), (7, 8, 9), (16, 0, 24), (63, 64, 65, 1)])
def test_what_was_split_comes_back(sizes):
    frames = [bytes(range(size)) for size in sizes]
    parts = chunks.split(frames)
    assert all(len(part) <= 8 for part in parts)
    assert [bytes(frame) for frame in chunks.join(parts)] == frames


def test_arrays_are_split_as_their_bytes_without_a_copy():
    array = np.arange(10, dtype=np.int32).reshape(2, 5)
    parts = chunks.split([array])
    assert b"".join(parts) == array.tobytes()
    assert np.shares_memory(np.frombuffer(parts[0], np.uint8), array)


def test_a_frame_that_came_whole_is_not_copied():
    frame = b"1234567"
    assert chunks.join([frame])[0] is frame


@pytest.mark.parametrize("parts", [[bytes(9)], [bytes(8)], [b"", bytes(8), bytes(8)]])
def test_pieces_of_another_length_and_unended_frames_are_refused(parts):
    with pytest.raises(WireError):
        chunks.join(parts)
