"""Proportional prioritized replay: Schaul et al. 2016, "Prioritized Experience Replay", section 3.

A row of priority p has the mass (p + eps)^alpha and is sampled with probability mass / total mass.
Importance weights are not made here: with several shards they depend on the masses of all of them
(weights.py), so `sample` returns probabilities; `mass` is what a shard reports.

Used by the replay shard, and by algorithms with a local buffer. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from actorrl.data.allocate import Allocate
from actorrl.data.columns import INDICES
from actorrl.replay.frame_store import FrameStore
from actorrl.replay.rows import RowStore
from actorrl.replay.sum_tree import SumTree
from actorrl.replay.weights import Mass

PROBABILITIES = "probabilities"
"""Column [N] float64 of a sample: each row's mass / this buffer's total mass."""


class PrioritizedReplay:
    """The newest `capacity` rows, sampled in proportion to (priority + eps)^alpha.

    `generation` stamps the ids (see rows.py): give the shard's incarnation, so that priorities that
    were computed for rows of an earlier incarnation are dropped, not given to others.
    """

    def __init__(
        self,
        capacity: int,
        *,
        alpha: float = 0.6,
        eps: float = 1e-6,
        seed: int | None = None,
        frame_store: FrameStore | None = None,
        generation: int = 0,
    ) -> None:
        if alpha < 0 or eps < 1e-12:
            raise ValueError(f"alpha {alpha} must be >= 0, and eps {eps} >= 1e-12")
        self.alpha = alpha
        self.eps = eps
        self._rows = RowStore(capacity, frame_store, generation)
        self._tree = SumTree(capacity)
        self._rng = np.random.default_rng(seed)
        self._max_priority = 1.0
        self.num_dropped_updates = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def capacity(self) -> int:
        """Most rows held at once."""
        return self._rows.capacity

    @property
    def total_mass(self) -> float:
        """Sum of the masses of all held rows."""
        return self._tree.total

    @property
    def min_mass(self) -> float:
        """Smallest mass, infinity when empty. Scans the leaves: for reports, not for each batch."""
        return self._tree.min_nonzero()

    @property
    def mass(self) -> Mass:
        """What a shard reports for the importance weights. Scans the leaves, as `min_mass`."""
        return Mass(self.total_mass, len(self), self.min_mass)

    @property
    def nbytes(self) -> int:
        """Bytes allocated for columns, frames and tree."""
        return self._rows.nbytes + self._tree.nbytes

    def add(
        self,
        rows: Mapping[str, np.ndarray],
        priorities: np.ndarray | None = None,
        *,
        frames: np.ndarray | None = None,
        stream: Hashable | None = None,
        overlap: int = 0,
    ) -> np.ndarray:
        """Add `rows`, columns [N, ...], and return their ids [N] int64.

        Without `priorities` [N] (>= 0) rows get the highest one seen so far. Columns `obs_frames`
        and `new_obs_frames` [N, k] are indices into `frames` [F, B, ...] flattened (f * B + b), or,
        without `frames`, absolute numbers of the frame store. Where the first `overlap` frames
        repeat the last ones of the same `stream`, they are stored once. ValueError, with nothing
        changed, if columns or priorities do not fit.
        """
        num_rows = len(next(iter(rows.values()), ()))
        if priorities is None:
            priorities = np.full(num_rows, self._max_priority)
        priorities = self._checked(priorities, num_rows)
        first_before = self._rows.first_id
        ids = self._rows.add(rows, frames, stream, overlap)
        self._forget(first_before)
        self._set_masses(ids, self._masses(priorities))
        return ids

    def sample(self, num_samples: int, allocate: Allocate = np.empty) -> dict[str, np.ndarray]:
        """Columns [N, ...] of N rows, one from each of N equal parts of the total mass.

        Copies, where `allocate(shape, dtype)` says; frame columns come as stacks `obs`, `new_obs`
        [N, k, ...]. Beside them the ids [N] (column batch_indexes) for `update_priorities`, and
        the probabilities [N].
        """
        self._evict()
        if len(self) == 0:
            raise ValueError("sample of an empty replay")
        slots = self._tree.sample_stratified(num_samples, self._rng)
        ids = self._ids_of(slots)
        batch = self._rows.gather(ids, allocate)
        batch[INDICES] = ids
        batch[PROBABILITIES] = self._tree.get(slots) / self._tree.total
        return batch

    def update_priorities(self, ids: np.ndarray, priorities: np.ndarray) -> int:
        """Give held rows new priorities [N] (>= 0); of a repeated id the last counts.

        Returns how many ids named rows that are gone: these were dropped, as in
        `num_dropped_updates`.
        """
        ids = np.asarray(ids, np.int64)
        masses = self._masses(self._checked(priorities, len(ids)))
        held = self._rows.holds(ids)
        self._tree.set(self._rows.slots(ids[held]), masses[held])
        dropped = len(ids) - int(np.count_nonzero(held))
        self.num_dropped_updates += dropped
        return dropped

    def check_valid(self) -> None:
        """Assert all invariants: tree, rows, frames, and that exactly the held rows have mass."""
        self._rows.check_valid()
        self._tree.check_valid()
        held = np.zeros(self.capacity, bool)
        held[self._rows.slots(np.arange(self._rows.first_id, self._rows.next_id))] = True
        assert ((self._tree.leaves > 0.0) == held).all(), "mass without a row, or the reverse"

    def state_dict(self) -> dict[str, Any]:
        """Random state and highest priority; rows are not kept (a buffer comes back empty)."""
        return {"rng": self._rng.bit_generator.state, "max_priority": self._max_priority}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self._rng.bit_generator.state = state["rng"]
        self._max_priority = float(state["max_priority"])

    def _checked(self, priorities: np.ndarray, num_rows: int) -> np.ndarray:
        """`priorities` as float64 [N]; a NaN is refused here, since it would spoil every sum."""
        priorities = np.asarray(priorities, np.float64)
        if priorities.shape != (num_rows,):
            raise ValueError(f"priorities of shape {priorities.shape} for {num_rows} rows")
        if not (np.isfinite(priorities) & (priorities >= 0.0)).all():
            raise ValueError("a priority is negative, infinite or NaN")
        return priorities

    def _masses(self, priorities: np.ndarray) -> np.ndarray:
        """Masses [N], never 0."""
        self._max_priority = max(self._max_priority, float(priorities.max(initial=0.0)))
        return (priorities + self.eps) ** self.alpha

    def _set_masses(self, ids: np.ndarray, masses: np.ndarray) -> None:
        """Write masses of rows just added: neighbours, but for one turn at the ring's end."""
        held = self._rows.holds(ids)
        if not held.all():
            ids, masses = ids[held], masses[held]
        if len(ids) == 0:
            return
        start = int(ids[0]) % self.capacity
        head = min(len(ids), self.capacity - start)
        self._tree.set_range(start, masses[:head])
        self._tree.set_range(0, masses[head:])

    def _evict(self) -> None:
        first_before = self._rows.first_id
        self._rows.evict_frameless()
        self._forget(first_before)

    def _forget(self, first_before: int) -> None:
        """Take the mass from rows that were evicted since `first_id` was `first_before`."""
        gone = min(self._rows.first_id - first_before, self.capacity)
        if gone == 0:
            return
        start = first_before % self.capacity
        head = min(gone, self.capacity - start)
        self._tree.set_range(start, np.zeros(head))
        self._tree.set_range(0, np.zeros(gone - head))

    def _ids_of(self, slots: np.ndarray) -> np.ndarray:
        """Ids of the rows now in `slots`."""
        first = self._rows.first_id
        return first + (slots - first) % self.capacity
