"""Prioritized replay against a dict that remembers every row ever added."""

import copy

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actorrl.replay.frame_store import RingFrameStore
from actorrl.replay.prioritized import PROBABILITIES, PrioritizedReplay

ALPHA, EPS = 0.6, 1e-6
K, N_STEP, B = 3, 2, 2
LEAD_IN = K + N_STEP


class Worker:
    """A worker's endless film, one fragment at a time; every frame's value is its time."""

    def __init__(self, name: int) -> None:
        self.name = name
        self.time = 0

    def fragment(self, length: int) -> tuple[dict[str, np.ndarray], np.ndarray, list[tuple]]:
        """Rows, frames [F, B, 1], and for each row what its two stacks must show."""
        times = np.arange(self.time, self.time + length + LEAD_IN)
        values = times[:, None] * B + np.arange(B)  # [F, B]
        frames = (self.name * 1_000_000 + values)[..., None]
        stacks = np.arange(length)[:, None] + np.arange(K)
        flat = (stacks[:, None, :] * B + np.arange(B)[None, :, None]).reshape(-1, K)
        self.time += length
        rows = {"obs_frames": flat, "new_obs_frames": flat + N_STEP * B}
        show = frames.reshape(-1)
        expected = [(tuple(show[f]), tuple(show[f + N_STEP * B])) for f in flat]
        return rows, frames, expected


class ReplayMachine(RuleBasedStateMachine):
    @initialize(capacity=st.integers(1, 60), num_frames=st.integers(60, 200))
    def make(self, capacity, num_frames):
        store = RingFrameStore(num_frames, (1,), np.int64)
        self.replay = PrioritizedReplay(
            capacity, alpha=ALPHA, eps=EPS, seed=0, frame_store=store, generation=3
        )
        self.workers = [Worker(i) for i in range(3)]
        self.expected: dict[int, tuple] = {}
        self.priorities: dict[int, float] = {}
        self.highest = 1.0
        self.dropped = 0

    @rule(
        worker=st.integers(0, 2),
        length=st.integers(0, 12),
        lost=st.booleans(),
        priority=st.none() | st.floats(0.0, 100.0),
    )
    def add(self, worker, length, lost, priority):
        length = min(length, self.replay.capacity // B)
        if lost:
            self.workers[worker].time += 1
        rows, frames, expected = self.workers[worker].fragment(length)
        given_ = None if priority is None else np.full(len(expected), priority)
        ids = self.replay.add(rows, given_, frames=frames, stream=worker, overlap=LEAD_IN)
        for id_, stacks in zip(ids.tolist(), expected, strict=True):
            self.expected[id_] = stacks
            self.priorities[id_] = self.highest if priority is None else priority
            self.highest = max(self.highest, self.priorities[id_])

    @precondition(lambda self: len(self.replay) > 0)
    @rule(size=st.integers(1, 20))
    def sample(self, size):
        batch = self.replay.sample(size)
        self.last_ids = batch["batch_indexes"]
        masses = np.array([self.mass(i) for i in self.last_ids.tolist()])
        total = sum(self.mass(i) for i in self.held())
        np.testing.assert_allclose(batch[PROBABILITIES], masses / total, rtol=1e-9)
        for i, id_ in enumerate(self.last_ids.tolist()):
            obs, new_obs = self.expected[id_]
            assert tuple(batch["obs"][i, :, 0]) == obs
            assert tuple(batch["new_obs"][i, :, 0]) == new_obs

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), size=st.integers(0, 8))
    def update(self, data, size):
        known = st.sampled_from(sorted(self.expected))
        ids = data.draw(st.lists(known | st.integers(0, 5), min_size=size, max_size=size))
        new = data.draw(st.lists(st.floats(0.0, 1e3), min_size=size, max_size=size))
        held = set(self.held())
        for id_, priority in zip(ids, new, strict=True):
            if id_ in held:
                self.priorities[id_] = priority
        self.highest = max([self.highest, *new])
        expected_drops = sum(id_ not in held for id_ in ids)
        assert self.replay.update_priorities(np.array(ids, int), np.array(new)) == expected_drops
        self.dropped += expected_drops

    @invariant()
    def everything_is_consistent(self):
        if not hasattr(self, "replay"):
            return
        replay = copy.deepcopy(self.replay)  # to look sums the tree up: the rules find it as it is
        replay.check_valid()
        assert replay.num_dropped_updates == self.dropped
        total = sum(self.mass(i) for i in self.held())
        assert replay.total_mass == pytest.approx(total)

    def held(self) -> list[int]:
        """The newest rows, as many as the replay says."""
        return sorted(self.expected)[len(self.expected) - len(self.replay) :]

    def mass(self, id_: int) -> float:
        return (self.priorities[id_] + EPS) ** ALPHA


TestReplay = ReplayMachine.TestCase
TestReplay.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def chi_square(counts: np.ndarray, probabilities: np.ndarray) -> float:
    expected = counts.sum() * probabilities
    return float(((counts - expected) ** 2 / expected).sum())


def chi_square_bound(degrees: int, deviations: float = 4.0) -> float:
    """Upper bound that chance passes about 3 times in 100,000 (Wilson and Hilferty 1931)."""
    return degrees * (1 - 2 / (9 * degrees) + deviations * np.sqrt(2 / (9 * degrees))) ** 3


@pytest.mark.parametrize("batch_size", [1, 32])
def test_sampling_frequencies_agree_with_priorities(batch_size):
    priorities = np.array([0.1, 0.5, 1.0, 1.0, 2.0, 5.0, 0.01, 3.0, 10.0, 4.0])
    replay = PrioritizedReplay(10, seed=7)
    replay.add({"x": np.arange(10)}, priorities)
    counts = np.zeros(10)
    for _ in range(6400 // batch_size):
        counts += np.bincount(replay.sample(batch_size)["x"], minlength=10)
    masses = (priorities + 1e-6) ** 0.6
    assert chi_square(counts, masses / masses.sum()) < chi_square_bound(9)


def test_the_frequency_test_would_notice_a_wrong_exponent():
    priorities = np.array([0.1, 0.5, 1.0, 1.0, 2.0, 5.0, 0.01, 3.0, 10.0, 4.0])
    replay = PrioritizedReplay(10, alpha=0.7, seed=7)
    replay.add({"x": np.arange(10)}, priorities)
    counts = np.bincount(np.concatenate([replay.sample(1)["x"] for _ in range(6400)]), minlength=10)
    masses = priorities**0.6
    assert chi_square(counts, masses / masses.sum()) > chi_square_bound(9)


def test_frequencies_follow_updated_priorities_after_the_ring_turned():
    rng = np.random.default_rng(3)
    replay = PrioritizedReplay(16, alpha=1.0, seed=8)
    for start in range(0, 72, 8):
        ids = replay.add({"x": np.arange(start, start + 8)}, rng.random(8))
    held = np.arange(ids[-1] - 15, ids[-1] + 1)
    priorities = rng.random(16) + 0.1
    replay.update_priorities(held, priorities)
    counts = np.zeros(16)
    for _ in range(400):
        counts += np.bincount(replay.sample(16)["x"] - 56, minlength=16)
    assert chi_square(counts, priorities / priorities.sum()) < chi_square_bound(15)


def test_new_rows_without_priorities_get_the_highest_seen():
    replay = PrioritizedReplay(10, alpha=1.0, eps=1e-9, seed=0)
    replay.add({"x": np.zeros(1)}, np.array([7.0]))
    replay.add({"x": np.zeros(1)})
    assert replay.total_mass == pytest.approx(14.0)


def test_the_mass_reports_total_number_and_smallest():
    replay = PrioritizedReplay(10, alpha=1.0, eps=1e-9)
    replay.add({"x": np.zeros(3)}, np.array([3.0, 1.0, 2.0]))
    assert replay.mass == pytest.approx((6.0, 3, 1.0))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1.0])
def test_a_priority_that_is_no_priority_is_refused_before_anything_changes(bad):
    replay = PrioritizedReplay(10, seed=0)
    ids = replay.add({"x": np.zeros(2)})
    with pytest.raises(ValueError, match="priority"):
        replay.update_priorities(ids, np.array([1.0, bad]))
    with pytest.raises(ValueError, match="priority"):
        replay.add({"x": np.zeros(2)}, np.array([1.0, bad]))
    assert len(replay) == 2
    replay.check_valid()


def test_priorities_of_another_number_than_the_rows_are_refused():
    replay = PrioritizedReplay(10)
    with pytest.raises(ValueError, match="2 rows"):
        replay.add({"x": np.zeros(2)}, np.ones(3))
    assert len(replay) == 0


def test_an_empty_replay_refuses_to_be_sampled():
    with pytest.raises(ValueError, match="empty"):
        PrioritizedReplay(10).sample(1)


def test_a_sample_is_a_copy():
    replay = PrioritizedReplay(4, seed=0)
    replay.add({"x": np.zeros(4)})
    replay.sample(4)["x"][:] = 9.0
    assert not replay.sample(4)["x"].any()


def test_equal_seeds_give_equal_samples_also_across_a_restored_state():
    def filled(seed):
        replay = PrioritizedReplay(100, seed=seed)
        replay.add({"x": np.arange(100)}, np.linspace(0, 5, 100))
        return replay

    one, two, other = filled(1), filled(1), filled(2)
    assert one.sample(32)["x"].tolist() == two.sample(32)["x"].tolist()
    other.load_state_dict(one.state_dict())
    assert one.sample(32)["x"].tolist() == other.sample(32)["x"].tolist()


def test_an_atari_row_takes_less_than_a_seventh_of_its_stacks():
    """84 x 84 frames, fragments of 50 rows, n = 3: all columns, the tree and the ring's slack."""
    fragment_length, num_envs, lead_in, capacity = 50, 8, 4 + 3, 4000
    num_frames = int(capacity * 1.05) + (fragment_length + lead_in) * num_envs
    store = RingFrameStore(num_frames, (84, 84))
    replay = PrioritizedReplay(capacity, frame_store=store)
    film = np.random.default_rng(0).integers(0, 256, (207, num_envs, 84, 84), dtype=np.uint8)
    num_rows = fragment_length * num_envs
    stacks = np.arange(num_rows)[:, None] + np.arange(4) * num_envs
    rows = {
        "obs_frames": stacks,
        "new_obs_frames": stacks + 3 * num_envs,
        "actions": np.zeros(num_rows, np.int64),
        "rewards": np.zeros(num_rows, np.float32),
        "discounts": np.zeros(num_rows, np.float32),
    }
    for i in range(16):
        start = i % 4 * fragment_length
        frames = film[start : start + fragment_length + lead_in]
        replay.add(rows, frames=frames, stream="rollout/0", overlap=lead_in)
    slack_of_one_fragment = (fragment_length + lead_in) * num_envs * 84 * 84
    assert len(replay) == capacity
    assert (replay.nbytes - slack_of_one_fragment) / capacity < 56_448 / 7
