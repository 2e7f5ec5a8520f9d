"""Budgets as text, and whether a measured row keeps them.

>= 7                    the ratio ours / other
<= 1/5                  likewise
ours <= 4               our own figure, in the case's unit
memory <= 0.2           our memory by the other's
>= 2, memory <= 0.2     both
"""

from __future__ import annotations

import operator
import re
import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_BUDGET = re.compile(r"(?:(ours|memory) )?(<=|>=|<) ([\d.]+)(?:/([\d.]+))?")
_KEEPS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
}


class Verdict(NamedTuple):
    budget: str
    measured: float
    met: bool

    def __str__(self) -> str:
        return f"{self.budget} met" if self.met else f"**{self.budget} missed**"


def verdicts(row: Mapping[str, Any]) -> list[Verdict]:
    """Of a row's `bar`, one for each budget in it. Raises ValueError where it is not understood."""
    return [_verdict(text, row) for text in row["bar"].split(", ") if text]


def _verdict(text: str, row: Mapping[str, Any]) -> Verdict:
    found = _BUDGET.fullmatch(text)
    if found is None:
        raise ValueError(f"budget {text!r}, expected for instance '>= 7' or 'memory <= 1/5'")
    of, sign, number, divisor = found.groups()
    measured = _measured(of, row)
    return Verdict(text, measured, _KEEPS[sign](measured, float(number) / float(divisor or 1)))


def _measured(of: str | None, row: Mapping[str, Any]) -> float:
    if of == "ours":
        return statistics.median(row["ours_values"])
    if of == "memory":
        ours: float = row["ours_more"]["pss_mib"]
        return ours / row["other_more"]["pss_mib"]
    ratio: float = row["ratio"]
    return ratio
