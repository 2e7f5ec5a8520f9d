"""How often a row is sampled, held at its target at any relative speed of workers and learner.

Counts in, yes or no out: no clock, no thread. As Reverb's SampleToInsertRatio (Cassirer et al.
2021, section 3.3), except that the side that is behind is always let through, so that no choice of
chunk, batch and tolerance can block both sides at once.
"""

from __future__ import annotations


class SamplesPerInsert:
    """Lets rows in and out so that sampled = target * (inserted - min_size), within a band.

    target: times that a row is sampled in its life, on average; > 0.
    min_size: rows to insert before the first is sampled; these are not counted for the ratio.
    tolerance: samples that either side may run ahead before it has to wait. The count stays within
      tolerance + one chunk * target ahead of the learner, and tolerance + one batch ahead of the
      workers.
    """

    def __init__(self, target: float, min_size: int = 1, tolerance: float = 0.0) -> None:
        if not target > 0:
            raise ValueError(f"target: {target} samples per insert, a number > 0 is accepted")
        if min_size < 0 or tolerance < 0:
            raise ValueError(f"min_size {min_size} and tolerance {tolerance} must be >= 0")
        self.target = target
        self.min_size = min_size
        self.tolerance = tolerance
        self.num_inserted = 0
        self.num_sampled = 0

    @property
    def owed(self) -> float:
        """Samples that the learner is behind; negative: it is ahead."""
        # From the two counts each time: adding up differences would drift.
        return self.target * (self.num_inserted - self.min_size) - self.num_sampled

    @property
    def ratio(self) -> float:
        """Samples per insert since sampling was allowed, NaN before the first counted insert."""
        counted = self.num_inserted - self.min_size
        return self.num_sampled / counted if counted > 0 else float("nan")

    def can_insert(self, num_rows: int) -> bool:
        """Whether `num_rows` may be inserted now; always while the workers are behind."""
        owed = self.owed
        return owed <= 0.0 or owed + num_rows * self.target <= self.tolerance

    def can_sample(self, num_rows: int) -> bool:
        """Whether `num_rows` may be sampled now; never before `min_size` rows are in."""
        if self.num_inserted < max(self.min_size, 1):
            return False
        owed = self.owed
        return owed >= 0.0 or owed - num_rows >= -self.tolerance

    def inserted(self, num_rows: int) -> None:
        """Count rows that were inserted, whether or not `can_insert` was asked."""
        self.num_inserted += num_rows

    def sampled(self, num_rows: int) -> None:
        """Count rows that were sampled."""
        self.num_sampled += num_rows
