"""Two sides of a question, measured in turn: A B A B ...

Only ratios of neighbours are compared, because a machine's speed drifts: the verdict is the median
of the paired ratios, beside their spread.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

Window = Callable[[], "Sample"]  # measures once


@dataclasses.dataclass(frozen=True)
class Sample:
    """One window: a value in the case's unit, and what else was seen."""

    value: float
    more: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Side:
    """`open` sets up, hands out the function that measures one window, and clears away."""

    name: str
    open: Callable[[], AbstractContextManager[Window]]


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of a question's table. `bar` is the budget for the ratio ours / other, as the design
    states it; `note` says what could not be made equal."""

    name: str
    unit: str
    ours: Side
    other: Side
    bar: str = ""
    note: str = ""
    pairs: int = 5
    together: bool = True  # both sides stay open: an idle one must cost nothing


@dataclasses.dataclass(frozen=True)
class Outcome:
    case: Case
    ours: list[Sample]
    other: list[Sample]

    @property
    def ratios(self) -> list[float]:
        return [a.value / b.value for a, b in zip(self.ours, self.other, strict=True)]

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def as_row(self) -> dict[str, Any]:
        return {
            "case": self.case.name,
            "unit": self.case.unit,
            "ours": self.case.ours.name,
            "other": self.case.other.name,
            "ours_values": [sample.value for sample in self.ours],
            "other_values": [sample.value for sample in self.other],
            "ours_more": _medians(self.ours),
            "other_more": _medians(self.other),
            "ratio": self.ratio,
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
            "bar": self.case.bar,
            "note": self.case.note,
        }


def _medians(samples: list[Sample]) -> dict[str, float]:
    keys = sorted(set.intersection(*(set(sample.more) for sample in samples)))
    return {key: statistics.median(sample.more[key] for sample in samples) for key in keys}


def measure(case: Case) -> Outcome:
    """All pairs of a case. Of sides that are open together the first window is the warm-up, and is
    dropped; sides apart warm up by themselves, before their window."""
    return _together(case) if case.together else _apart(case)


def _together(case: Case) -> Outcome:
    ours: list[Sample] = []
    other: list[Sample] = []
    with ExitStack() as stack:
        windows = [stack.enter_context(side.open()) for side in (case.ours, case.other)]
        for window in windows:
            window()
        for _ in range(case.pairs):
            ours.append(windows[0]())
            other.append(windows[1]())
    return Outcome(case, ours, other)


def _apart(case: Case) -> Outcome:
    """Each window has its side to itself: for commands that work on while nobody measures."""
    samples = [list(_alone(case, turn)) for turn in range(case.pairs)]
    return Outcome(case, [pair[0] for pair in samples], [pair[1] for pair in samples])


def _alone(case: Case, turn: int) -> Iterator[Sample]:
    for side in (case.ours, case.other):
        with side.open() as window:
            yield window()
