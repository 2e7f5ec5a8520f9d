"""Rows and frames are evicted together, and lead-in frames are kept once."""

import numpy as np
import pytest

from actorrl.replay.frame_store import RingFrameStore, frames_for
from actorrl.replay.prioritized import PrioritizedReplay
from actorrl.replay.rows import GENERATION_BITS, RowStore

T, B, K, N_STEP = 10, 2, 4, 3
LEAD_IN = K + N_STEP  # frames that a fragment repeats: those of the rows it carried over
FRAMES = T + LEAD_IN


def video(length: int, seed: int = 0) -> np.ndarray:
    """Frames [length, B, 4, 4], no two alike."""
    return np.random.default_rng(seed).integers(0, 256, (length, B, 4, 4), dtype=np.uint8)


def fragment_rows() -> dict[str, np.ndarray]:
    """Rows of one fragment: row (t, b) stacks frames t .. t + K - 1 of its environment."""
    stacks = np.arange(T)[:, None] + np.arange(K)  # [T, K]
    flat = (stacks[:, None, :] * B + np.arange(B)[None, :, None]).reshape(T * B, K)
    return {"obs_frames": flat.astype(np.int32), "new_obs_frames": (flat + N_STEP * B).astype(int)}


def make(capacity: int, num_frames: int) -> RowStore:
    return RowStore(capacity, RingFrameStore(num_frames, (4, 4)))


def test_the_lead_in_of_a_stream_is_stored_once():
    rows, film = make(1000, 2000), video(5 * T + LEAD_IN)
    for i in range(5):
        frames = film[i * T : i * T + FRAMES]
        rows.add(fragment_rows(), frames, stream="rollout/0", overlap=LEAD_IN)
        rows.check_valid()
    assert rows.frames.next == (5 * T + LEAD_IN) * B


def test_shared_frames_give_the_same_stacks_as_stored_ones():
    film = video(5 * T + LEAD_IN)
    shared, stored = make(1000, 2000), make(1000, 2000)
    for i in range(5):
        frames = film[i * T : i * T + FRAMES]
        ids = shared.add(fragment_rows(), frames, stream="rollout/0", overlap=LEAD_IN)
        stored.add(fragment_rows(), frames)
        for name in ("obs", "new_obs"):
            np.testing.assert_array_equal(shared.gather(ids)[name], stored.gather(ids)[name])
    assert shared.frames.next < stored.frames.next


@pytest.mark.parametrize("fault", ["lost fragment", "other stream", "other number of environments"])
def test_frames_that_are_not_the_stream_s_last_are_stored_anew(fault):
    rows, film = make(1000, 2000), video(4 * T)
    rows.add(fragment_rows(), film[:FRAMES], stream="a", overlap=LEAD_IN)
    start = 2 * T if fault == "lost fragment" else T
    frames = film[start : start + FRAMES]
    if fault == "other number of environments":
        frames = np.concatenate([frames, frames], axis=1)
    before = rows.frames.next
    stream = "b" if fault == "other stream" else "a"
    ids = rows.add(fragment_rows(), frames, stream=stream, overlap=LEAD_IN)
    rows.check_valid()
    assert rows.frames.next - before == frames.shape[0] * frames.shape[1]
    expected = frames.reshape(-1, 4, 4)[fragment_rows()["obs_frames"]]
    np.testing.assert_array_equal(rows.gather(ids)["obs"], expected)


def test_a_slow_stream_does_not_take_the_others_rows_with_it():
    """Its old frames are stored anew, since a row goes together with all rows before it."""
    rows, film, slow = make(10_000, 1000), video(600), video(50, seed=1)
    rows.add(fragment_rows(), slow[:FRAMES], stream="slow", overlap=LEAD_IN)
    for i in range(50):
        if i == 46:  # the slow stream's first frames are next to be overwritten
            rows.add(fragment_rows(), slow[T : T + FRAMES], stream="slow", overlap=LEAD_IN)
        frames = film[i * T : i * T + FRAMES]
        rows.add(fragment_rows(), frames, stream="fast", overlap=LEAD_IN)
        rows.check_valid()
    assert rows.frames.oldest > FRAMES * B
    assert len(rows) > 45 * T * B


def test_a_fragment_that_fills_the_store_does_not_share_what_it_overwrites():
    store_frames = (T + LEAD_IN) * B
    rows, film = make(1000, store_frames), video(3 * T)
    for start in (0, T):
        frames = film[start : start + FRAMES]
        ids = rows.add(fragment_rows(), frames, stream="a", overlap=LEAD_IN)
        rows.check_valid()
        assert len(rows) == T * B
    expected = frames.reshape(-1, 4, 4)[fragment_rows()["obs_frames"]]
    np.testing.assert_array_equal(rows.gather(ids)["obs"], expected)


def test_a_tail_that_the_new_frames_overwrite_is_not_shared():
    rows = make(1000, 64)
    film = np.arange(80, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8)
    short = {"obs_frames": np.array([[0]]), "new_obs_frames": np.array([[1]])}
    rows.add(short, film[:2], stream="a", overlap=2)
    rows.add(short, film[70:72], stream="b", overlap=2)
    ids = rows.add(short, film[:63], stream="a", overlap=2)
    rows.check_valid()
    assert rows.gather(ids)["new_obs"].max() == 1


def test_rows_go_when_their_frames_go():
    rows, film = make(1000, 5 * FRAMES * B), video(FRAMES)
    for i in range(12):
        rows.add(fragment_rows(), film)
        rows.check_valid()
        assert len(rows) == min(i + 1, 5) * T * B


def test_rows_may_name_frames_that_are_already_held():
    rows = make(100, 50)
    first = rows.frames.add(video(10).reshape(-1, 4, 4))
    held = {"obs_frames": first + np.array([[0, 1]]), "new_obs_frames": first + np.array([[2, 3]])}
    rows.add(held)
    rows.check_valid()
    rows.frames.add(np.zeros((40, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="frames 0"):
        rows.add(held)
    rows.evict_frameless()
    rows.check_valid()
    assert len(rows) == 0


def test_a_generation_makes_ids_that_no_other_has():
    one = RowStore(10, generation=1).add({"x": np.zeros(3)})
    two = RowStore(10, generation=2)
    two.add({"x": np.zeros(3)})
    assert one.tolist() == [(1 << GENERATION_BITS) + i for i in range(3)]
    assert not two.holds(one).any()


def test_priorities_for_rows_of_an_earlier_generation_are_dropped():
    old, new = PrioritizedReplay(10, generation=1), PrioritizedReplay(10, generation=2)
    ids = old.add({"x": np.zeros(3)})
    new.add({"x": np.zeros(3)})
    assert new.update_priorities(ids, np.full(3, 99.0)) == 3
    new.check_valid()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": np.zeros(2)}, "differ"),
        ({"a": np.zeros(2), "b": np.zeros((2, 2)), "c": np.zeros(2)}, "differ"),
        ({"a": np.zeros(2), "b": np.zeros((3, 2))}, "b: 3 rows"),
        ({"a": np.zeros(2), "b": np.zeros((2, 3))}, "b: "),
        ({"a": np.array(["x", "y"]), "b": np.zeros((2, 2))}, "a: "),
        ({"a": np.zeros(9), "b": np.zeros((9, 2))}, "9 rows at once"),
    ],
)
def test_rows_unlike_the_first_are_refused_and_nothing_changes(rows, message):
    store = RowStore(8)
    store.add({"a": np.ones(2), "b": np.ones((2, 2))})
    with pytest.raises(ValueError, match=message):
        store.add(rows)
    assert len(store) == 2
    store.check_valid()


def test_rows_without_columns_and_of_objects_are_refused():
    with pytest.raises(ValueError, match="without columns"):
        RowStore(8).add({})
    with pytest.raises(ValueError, match="objects"):
        RowStore(8).add({"a": np.array([object()])})


def test_the_recommended_number_of_frames_lets_the_rows_reach_their_capacity():
    num_streams, capacity = 5, 1500
    rows = make(capacity, frames_for(capacity, FRAMES * B, num_streams))
    films = [video(400, seed=i) for i in range(num_streams)]
    for i in range(35):
        for stream, film in enumerate(films):
            frames = film[i * T : i * T + FRAMES]
            rows.add(fragment_rows(), frames, stream=stream, overlap=LEAD_IN)
            rows.check_valid()
            assert len(rows) == min(capacity, (i * num_streams + stream + 1) * T * B)


def test_rows_are_gathered_where_they_are_wanted():
    rows, film = make(1000, 2000), video(FRAMES)
    ids = rows.add({**fragment_rows(), "rewards": np.arange(T * B, dtype=np.float32)}, film)
    places: list[np.ndarray] = []

    def allocate(shape, dtype):
        places.append(np.empty(shape, dtype))
        return places[-1]

    found, expected = rows.gather(ids[::-1], allocate), rows.gather(ids[::-1])
    assert len(places) == len(found) == 3
    for place, (name, column) in zip(places, found.items(), strict=True):
        assert column is place
        np.testing.assert_array_equal(column, expected[name])
