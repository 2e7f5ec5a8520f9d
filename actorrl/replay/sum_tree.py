"""A sum tree over leaf priorities, walked level by level with whole arrays.

Schaul et al. 2016, "Prioritized Experience Replay", appendix B.2.1. float64 throughout: in float32
the rounding of a sum over a million leaves leads some descents to leaves of priority zero.

Letters: N indices in one call, L leaves (the capacity, rounded up to a power of two).
The nodes are one array of 2 L: the root is node 1, the children of node i are 2i and 2i + 1, leaf j
is node L + j.
"""

from __future__ import annotations

import numpy as np

_MAX_UNSUMMED = 8  # ranges that touch no other; rings write in two places at most


class SumTree:
    """Priorities of `capacity` leaves, their sum, and the search of a leaf by prefix sum."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity: {capacity} is no positive number of leaves")
        self.capacity = capacity
        self._depth = max(1, (capacity - 1).bit_length())
        self._num_leaves = 1 << self._depth
        self._nodes = np.zeros(2 * self._num_leaves, np.float64)
        self._unsummed: list[tuple[int, int]] = []  # first and last leaf of ranges, as nodes

    @property
    def total(self) -> float:
        """Sum of all priorities."""
        self._sum_up()
        return float(self._nodes[1])

    @property
    def leaves(self) -> np.ndarray:
        """[capacity] priorities; a view that must not be written to."""
        return self._nodes[self._num_leaves : self._num_leaves + self.capacity]

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        return self._nodes.nbytes

    def get(self, indices: np.ndarray) -> np.ndarray:
        """Priorities [N] of the leaves `indices` [N]."""
        return self._nodes[self._num_leaves + indices]

    def set(self, indices: np.ndarray, priorities: np.ndarray | float) -> None:
        """Give the leaves `indices` [N] their `priorities` [N]; of a repeated leaf the last counts.

        Parents are summed anew from their children, never adjusted by a difference: differences
        would let rounding errors grow with the number of updates.
        """
        if len(indices) == 0:
            return
        nodes = self._nodes
        touched = np.asarray(indices, np.int64) + self._num_leaves
        nodes[touched] = priorities
        for _ in range(self._depth):
            touched = _parents(touched)
            left = touched << 1
            nodes[touched] = nodes[left] + nodes[left + 1]

    def set_range(self, start: int, priorities: np.ndarray) -> None:
        """`set` of the neighbouring leaves start .. start + N - 1: slices in place of gathers.

        Parents are summed when somebody looks: a ring is written in many small ranges that touch.
        """
        if len(priorities) == 0:
            return
        first = start + self._num_leaves
        last = first + len(priorities) - 1  # inclusive
        self._nodes[first : last + 1] = priorities
        for index, (low, high) in enumerate(self._unsummed):
            if low - 1 <= last and first <= high + 1:
                self._unsummed[index] = (min(low, first), max(high, last))
                return
        if len(self._unsummed) == _MAX_UNSUMMED:
            self._sum_up()
        self._unsummed.append((first, last))

    def _sum_up(self) -> None:
        """Sum the parents of all ranges written, whatever `set` did to some of them meanwhile."""
        nodes = self._nodes
        for first, last in self._unsummed:
            for _ in range(self._depth):
                first, last = first >> 1, last >> 1
                children = nodes[2 * first : 2 * last + 2]
                np.add(children[0::2], children[1::2], out=nodes[first : last + 1])
        self._unsummed.clear()

    def find(self, prefix_sums: np.ndarray) -> np.ndarray:
        """Leaves [N] in which the cumulative priority passes `prefix_sums` [N], in [0, total).

        Never a leaf of priority zero while the total is positive, whatever the rounding.
        """
        assert self.total > 0.0, "find in a tree without priorities"
        nodes = self._nodes
        rest = np.array(prefix_sums, np.float64)
        node = np.ones(len(rest), np.int64)
        for _ in range(self._depth):
            node <<= 1
            left = nodes[node]
            # Rounding may leave rest >= left although nothing lies to the right: stay left then.
            right = (rest >= left) & (nodes[node + 1] > 0.0)
            rest -= left * right
            node += right
        return node - self._num_leaves

    def sample_stratified(self, num_samples: int, rng: np.random.Generator) -> np.ndarray:
        """Leaves [N] in proportion to priority, one from each of N equal parts of the total."""
        strata = np.arange(num_samples) + rng.random(num_samples)
        return self.find(strata * (self.total / num_samples))

    def min_nonzero(self) -> float:
        """Smallest positive priority, infinity without one. Scans all leaves: for reports."""
        leaves = self.leaves
        return float(np.min(leaves, where=leaves > 0.0, initial=np.inf))

    def check_valid(self) -> None:
        """Assert that every node is the sum of its children and every leaf finite and >= 0."""
        self._sum_up()
        nodes, size = self._nodes, self._num_leaves
        assert np.isfinite(nodes).all(), "a priority is not finite"
        assert (nodes >= 0.0).all(), "a priority is negative"
        assert (nodes[1:size] == nodes[2::2] + nodes[3::2]).all(), (
            "a node is not its children's sum"
        )
        assert not nodes[size + self.capacity :].any(), "a leaf beyond the capacity has a priority"


def _parents(nodes: np.ndarray) -> np.ndarray:
    """Parents of `nodes`, without neighbours that have become the same node."""
    parents = nodes >> 1
    if len(parents) < 2:
        return parents
    keep = np.empty(len(parents), bool)
    keep[0] = True
    np.not_equal(parents[1:], parents[:-1], out=keep[1:])
    return parents[keep]
