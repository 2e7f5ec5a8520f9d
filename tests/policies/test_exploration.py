from __future__ import annotations

import numpy as np
import pytest

from actorrl.policies.exploration import EpsilonSchedule, PiecewiseSchedule, exploration_ladder


def test_the_ladder_is_the_papers():
    ladder = exploration_ladder(8)
    expected = [0.4 ** (1 + 7 * i / 7) for i in range(8)]
    np.testing.assert_allclose(ladder, expected)
    assert ladder[0] == 0.4 and ladder[-1] == pytest.approx(0.4**8)


def test_one_environment_alone_explores_least():
    assert exploration_ladder(1).tolist() == [pytest.approx(0.4**8)]
    with pytest.raises(ValueError, match="at least 1"):
        exploration_ladder(0)


def test_a_schedule_is_linear_between_its_points_and_constant_outside():
    schedule = PiecewiseSchedule([(100, 1.0), (200, 0.5), (400, 0.0)])
    values = [schedule(n) for n in (0, 100, 150, 200, 300, 400, 10**9)]
    assert values == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0])


def test_epsilon_falls_to_its_end():
    schedule = EpsilonSchedule(1.0, 0.1, horizon=90)
    assert [schedule(n) for n in (0, 45, 90, 100)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


@pytest.mark.parametrize("points", [[], [(1, 0.0), (1, 1.0)], [(2, 0.0), (1, 1.0)]])
def test_points_that_make_no_schedule_are_refused(points):
    with pytest.raises(ValueError, match="schedule"):
        PiecewiseSchedule(points)
