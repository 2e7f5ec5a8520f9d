"""Replay that samples every held row with the same probability."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from actorrl.data.allocate import Allocate
from actorrl.data.columns import INDICES
from actorrl.replay.frame_store import FrameStore
from actorrl.replay.prioritized import PROBABILITIES
from actorrl.replay.rows import RowStore
from actorrl.replay.weights import Mass


class UniformReplay:
    """The newest `capacity` rows, with the methods of PrioritizedReplay; priorities are ignored."""

    def __init__(
        self,
        capacity: int,
        *,
        seed: int | None = None,
        frame_store: FrameStore | None = None,
        generation: int = 0,
    ) -> None:
        self._rows = RowStore(capacity, frame_store, generation)
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_dropped_updates(self) -> int:
        """Priorities are not kept, so none is ever too late."""
        return 0

    @property
    def total_mass(self) -> float:
        """Sum of the rows' sampling masses, 1 each."""
        return float(len(self))

    @property
    def min_mass(self) -> float:
        """Smallest sampling mass, infinity when empty."""
        return 1.0 if len(self) else float("inf")

    @property
    def mass(self) -> Mass:
        """What a shard reports for the importance weights."""
        return Mass(self.total_mass, len(self), self.min_mass)

    @property
    def nbytes(self) -> int:
        """Bytes allocated for columns and frames."""
        return self._rows.nbytes

    def add(
        self,
        rows: Mapping[str, np.ndarray],
        priorities: np.ndarray | None = None,
        *,
        frames: np.ndarray | None = None,
        stream: Hashable | None = None,
        overlap: int = 0,
    ) -> np.ndarray:
        """As PrioritizedReplay.add; `priorities` are accepted and not used."""
        return self._rows.add(rows, frames, stream, overlap)

    def sample(self, num_samples: int, allocate: Allocate = np.empty) -> dict[str, np.ndarray]:
        """Columns [N, ...] of N rows drawn with replacement, with ids and probabilities."""
        self._rows.evict_frameless()
        if len(self) == 0:
            raise ValueError("sample of an empty replay")
        ids = self._rng.integers(self._rows.first_id, self._rows.next_id, num_samples)
        batch = self._rows.gather(ids, allocate)
        batch[INDICES] = ids
        batch[PROBABILITIES] = np.full(num_samples, 1.0 / len(self))
        return batch

    def update_priorities(self, ids: np.ndarray, priorities: np.ndarray) -> int:
        """Change nothing; number of `ids` whose rows are gone."""
        return len(ids) - int(np.count_nonzero(self._rows.holds(np.asarray(ids))))

    def check_valid(self) -> None:
        """Assert the invariants of rows and frames."""
        self._rows.check_valid()

    def state_dict(self) -> dict[str, Any]:
        """The random state; rows are not kept (a buffer comes back empty)."""
        return {"rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the random sequence of `state_dict`."""
        self._rng.bit_generator.state = state["rng"]
