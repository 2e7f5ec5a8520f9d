"""The sum tree against plain lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorrl.replay.sum_tree import SumTree

PRIORITIES = st.one_of(st.just(0.0), st.floats(1e-9, 1e6))


def slow_find(priorities: list[float], prefix_sum: float) -> int:
    """The first leaf whose running sum passes the prefix sum."""
    running = 0.0
    for index, priority in enumerate(priorities):
        running += priority
        if prefix_sum < running:
            return index
    return max(i for i, priority in enumerate(priorities) if priority > 0)


@given(
    capacity=st.integers(1, 40),
    writes=st.lists(st.lists(st.tuples(st.integers(0, 39), PRIORITIES), max_size=12), max_size=8),
)
@settings(max_examples=100, deadline=None)
def test_any_writes_leave_a_valid_tree_with_the_last_written_priorities(capacity, writes):
    tree, plain = SumTree(capacity), [0.0] * capacity
    for write in writes:
        pairs = [(index % capacity, priority) for index, priority in write]
        for index, priority in pairs:
            plain[index] = priority
        tree.set(np.array([i for i, _ in pairs], int), np.array([p for _, p in pairs]))
        tree.check_valid()
    assert tree.leaves.tolist() == plain
    assert tree.total == pytest.approx(sum(plain))
    assert tree.min_nonzero() == min((p for p in plain if p > 0), default=np.inf)


@given(
    capacity=st.integers(1, 40), start=st.integers(0, 39), written=st.lists(PRIORITIES, max_size=40)
)
@settings(max_examples=100, deadline=None)
def test_writing_a_range_equals_writing_its_indices(capacity, start, written):
    start %= capacity
    values = np.array(written[: capacity - start])
    by_range, by_index = SumTree(capacity), SumTree(capacity)
    for tree in (by_range, by_index):
        tree.set(np.arange(capacity), np.linspace(0.0, 1.0, capacity))
    by_range.set_range(start, values)
    by_index.set(np.arange(start, start + len(values)), values)
    by_range.check_valid()
    assert by_range.leaves.tolist() == by_index.leaves.tolist()
    assert by_range.total == by_index.total


@given(
    capacity=st.integers(1, 40),
    writes=st.lists(
        st.tuples(st.booleans(), st.integers(0, 39), st.lists(PRIORITIES, max_size=6)), max_size=20
    ),
)
@settings(max_examples=100, deadline=None)
def test_ranges_and_leaves_in_any_order_are_summed_when_somebody_looks(capacity, writes):
    tree, plain = SumTree(capacity), np.zeros(capacity)
    for is_range, start, priorities in writes:
        start %= capacity
        priorities = np.array(priorities[: capacity - start])
        indices = np.arange(start, start + len(priorities))
        plain[indices] = priorities
        if is_range:
            tree.set_range(start, priorities)
        else:
            tree.set(indices, priorities)
    by_index = SumTree(capacity)
    by_index.set(np.arange(capacity), plain)
    assert tree.leaves.tolist() == plain.tolist()
    assert tree.total == by_index.total
    tree.check_valid()


@given(priorities=st.lists(st.integers(0, 9), min_size=1, max_size=40).filter(any))
@settings(max_examples=100, deadline=None)
def test_find_agrees_with_a_linear_scan(priorities):
    tree = SumTree(len(priorities))
    tree.set(np.arange(len(priorities)), np.array(priorities, float))
    prefix_sums = np.arange(0, sum(priorities), 0.25)  # exact in binary: no rounding to disagree on
    expected = [slow_find([float(p) for p in priorities], x) for x in prefix_sums]
    assert tree.find(prefix_sums).tolist() == expected


@given(priorities=st.lists(PRIORITIES, min_size=1, max_size=64).filter(any))
@settings(max_examples=200, deadline=None)
def test_no_rounding_leads_to_a_leaf_of_priority_zero(priorities):
    tree = SumTree(len(priorities))
    tree.set(np.arange(len(priorities)), np.array(priorities))
    edges = np.cumsum(priorities)
    near = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, np.inf), [0.0]])
    found = tree.find(np.append(near, tree.total))
    assert (tree.get(found) > 0.0).all()


def test_a_repeated_leaf_gets_its_last_priority():
    tree = SumTree(4)
    tree.set(np.array([2, 2, 1, 2]), np.array([5.0, 6.0, 1.0, 7.0]))
    assert tree.leaves.tolist() == [0.0, 1.0, 7.0, 0.0]
    tree.check_valid()


def test_many_updates_leave_no_drift():
    rng = np.random.default_rng(0)
    tree = SumTree(1000)
    for _ in range(500):
        tree.set(rng.integers(0, 1000, 64), rng.random(64) * 10.0 ** rng.integers(-9, 9))
    tree.check_valid()
    assert tree.total == pytest.approx(tree.leaves.sum(), rel=1e-12)


@pytest.mark.parametrize("num_samples", [1, 7, 64, 512])
def test_stratified_counts_differ_from_their_expectation_by_less_than_two(num_samples):
    """Each leaf owns one interval, which overlaps all but two of its strata entirely."""
    rng = np.random.default_rng(1)
    tree = SumTree(50)
    tree.set(np.arange(50), rng.random(50) ** 3)
    for _ in range(50):
        counts = np.bincount(tree.sample_stratified(num_samples, rng), minlength=50)
        assert np.abs(counts - num_samples * tree.leaves / tree.total).max() < 2


def test_a_capacity_below_one_is_refused():
    with pytest.raises(ValueError, match="capacity"):
        SumTree(0)
