"""Who learns one model together: a learner alone, or several that share every batch.

What a learner computes of its own rows is turned into what one learner would have found on all
rows: sums over the group. Alone they are the learner's own. Several are `roles/learner_group.py`'s.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Share(NamedTuple):
    """Where a learner's rows stand among those of all, one learner behind the other."""

    start: int
    total: int


class Group:
    """One learner alone, and what several redefine. All learners of a group call the same methods
    in the same order."""

    size = 1

    def sum(self, x: Tensor) -> Tensor:
        """Of everybody's `x`, which have one shape."""
        return x

    def place(self, num_rows: int) -> Share:
        """Of this learner's rows among everybody's."""
        return Share(0, num_rows)

    def mean(self, total: Tensor, num_rows: Tensor) -> Tensor:
        """Over everybody's rows; `total`, one number or several [n], is the sum over this
        learner's. Without any row it is 0."""
        return total / num_rows.clamp(min=1)

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of everybody's numbers [n]."""
        return x.mean(), x.std(correction=0)

    def average(self, gradient: Tensor, rows: Tensor | None) -> None:
        """In place: everybody's gradients [P] of means over their own rows become that of the mean
        over all rows. `rows`: this learner's, of a loss that is a mean over those that are True."""


ALONE = Group()
