"""A short soak: random faults on one run, no invariant broken. `scripts/test --soak` is the long
one, `scripts/test --all` has one of 100 faults."""

from __future__ import annotations

import pytest

from tests.faults.soak import Soak


@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        pytest.param(1, 15, marks=pytest.mark.timeout(1200)),
        pytest.param(2, 100, marks=[pytest.mark.slow, pytest.mark.timeout(5400)]),
    ],
)
def test_whatever_strikes_when_all_invariants_hold(seed, faults, tmp_path):
    report = Soak(seed, faults, tmp_path, calm_s=faults / 10, pause_s=0.3).run()
    print("\n".join(report.lines()))
    assert report.broken == []
    assert sum(report.counts.values()) == faults
    assert report.growing() == []
