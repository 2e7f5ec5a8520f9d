"""How far a run is."""

import pytest

from actorrl.experiment.estimate import Estimator
from actorrl.experiment.stop import StopCriteria


def follow(criteria, rows):
    estimator = Estimator(StopCriteria(criteria))
    for now, row in rows:
        estimator.add(now, row)
    return estimator.nearest()


def test_without_criteria_or_values_there_is_no_goal():
    assert follow({}, [(0, {"timesteps_total": 5})]) is None
    assert follow({"timesteps_total": 10}, []) is None
    assert follow({"episode_reward_mean": 10}, [(0, {"episode_reward_mean": float("nan")})]) is None


def test_a_counter_s_way_begins_at_zero_and_its_pace_gives_the_time_left():
    rows = [(t, {"timesteps_total": 100 * t}) for t in (10, 20, 30)]
    goal = follow({"timesteps_total": 10_000}, rows)
    assert goal.fraction == pytest.approx(0.3)
    assert goal.left_s == pytest.approx(70)


def test_the_way_to_a_positive_reward_begins_at_zero_or_below():
    goal = follow({"episode_reward_mean": 10}, [(0, {"episode_reward_mean": 5})])
    assert goal.fraction == pytest.approx(0.5)
    rows = [(0, {"episode_reward_mean": -10}), (1, {"episode_reward_mean": 5})]
    assert follow({"episode_reward_mean": 10}, rows).fraction == pytest.approx(0.75)


def test_the_way_to_a_negative_reward_begins_at_its_lowest_value():
    rows = [(0, {"episode_reward_mean": -20}), (10, {"episode_reward_mean": -21})]
    rows += [(20, {"episode_reward_mean": -18})]
    goal = follow({"episode_reward_mean": -15}, rows)
    assert goal.fraction == pytest.approx(0.5)
    assert goal.left_s == pytest.approx(30)


def test_the_nearest_criterion_is_the_one_with_the_least_time_left():
    rows = [(t, {"episode_reward_mean": 10 * t, "timesteps_total": 1000 * t}) for t in (1, 2, 3)]
    assert follow({"episode_reward_mean": 50, "timesteps_total": 1e6}, rows).key == (
        "episode_reward_mean"
    )
    assert follow({"episode_reward_mean": 5000, "timesteps_total": 1e4}, rows).key == (
        "timesteps_total"
    )


def test_without_a_pace_the_one_farthest_on_its_way_is_nearest():
    row = {"episodes_total": 90, "timesteps_total": 10}
    goal = follow({"episodes_total": 100, "timesteps_total": 100}, [(0, row)])
    assert (goal.key, goal.left_s) == ("episodes_total", None)


def test_a_falling_reward_has_no_time_left():
    rows = [(0, {"episode_reward_mean": 5}), (10, {"episode_reward_mean": 3})]
    assert follow({"episode_reward_mean": 10}, rows).left_s is None


def test_only_the_last_two_minutes_make_the_pace():
    rows = [(t, {"timesteps_total": t}) for t in range(0, 1000, 10)]
    rows += [(1000 + t, {"timesteps_total": 1000 + 10 * t}) for t in range(0, 200, 10)]
    assert follow({"timesteps_total": 3890}, rows).left_s == pytest.approx(99, rel=0.01)


def test_a_reached_goal_is_complete():
    goal = follow({"episode_reward_mean": 1}, [(0, {"episode_reward_mean": 2})])
    assert (goal.fraction, goal.left_s) == (1.0, 0.0)
