"""Budgets: what is compared with what, and when one is met."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.harness.budgets import verdicts


def row(bar: str, ratio: float = 2.0) -> dict[str, Any]:
    return {
        "bar": bar,
        "ratio": ratio,
        "ours_values": [3.0, 5.0, 4.0, 6.0],
        "ours_more": {"pss_mib": 100.0},
        "other_more": {"pss_mib": 400.0},
    }


@pytest.mark.parametrize(
    ("bar", "measured", "met"),
    [
        (">= 2", 2.0, True),
        (">= 2.1", 2.0, False),
        ("<= 2", 2.0, True),
        ("< 2", 2.0, False),
        ("<= 20/10", 2.0, True),
        ("ours <= 4.5", 4.5, True),
        ("ours <= 4", 4.5, False),
        ("memory <= 1/4", 0.25, True),
        ("memory <= 1/5", 0.25, False),
    ],
)
def test_a_budget_is_for_the_ratio_our_own_figure_or_our_share_of_memory(
    bar: str, measured: float, met: bool
) -> None:
    (verdict,) = verdicts(row(bar))
    assert (verdict.measured, verdict.met) == (pytest.approx(measured), met)


def test_a_case_may_have_several_budgets_or_none() -> None:
    assert [verdict.met for verdict in verdicts(row(">= 2, memory <= 1/5"))] == [True, False]
    assert verdicts(row("")) == []


def test_a_budget_that_is_not_understood_is_no_budget_met() -> None:
    with pytest.raises(ValueError, match="'about 2'"):
        verdicts(row("about 2"))
