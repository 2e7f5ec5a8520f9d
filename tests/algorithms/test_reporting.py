"""Rows of results, and losses that only they can tell."""

from __future__ import annotations

import pytest

from actorrl.algorithms.ppo import PPOConfig
from actorrl.algorithms.reporting import Reporter
from actorrl.rollouts.episodes import EpisodeWindow
from actorrl.wire.messages import Kind, Message


@pytest.fixture
def reporter() -> Reporter:
    """Its last row told of 500 env steps, 40 updates and 300 rows in two shards."""
    reporter = Reporter(EpisodeWindow(1, 100, lambda index: True), False, num_shards=2)
    report = {
        "seconds": {},
        "stats": {},
        "timesteps_total": 500,
        "num_updates": 40,
        "policy_lag_mean": 0.0,
        "policy_lag_max": 0,
        "counters": {"replay_size": 300},
    }
    reporter.row(report, 1.0)
    return reporter


def test_what_nobody_could_count_is_at_least_what_the_last_row_told(reporter):
    learner = {"event": "learner_recovered", "exact": False, "num_updates": 30}
    learner |= {"timesteps_total": 420, "updates_lost": 0, "timesteps_lost": 0}
    told = reporter.lost_at_least(learner)
    assert (told["updates_lost"], told["timesteps_lost"]) == (10, 80)
    assert reporter.lost_at_least({"event": "rows_lost", "exact": False, "rows": 0})["rows"] == 150


def test_what_was_counted_stays_as_it_is(reporter):
    for event in ({"event": "rows_lost", "exact": True, "rows": 3}, {"event": "actor_ready"}):
        assert reporter.lost_at_least(event) == event


def test_a_row_tells_what_was_dropped_where_something_was(tmp_path):
    config = PPOConfig().environment("CartPole-v1").rollouts(num_rollout_workers=0)
    algo = config.training(train_batch_size=100).build(results=tmp_path)
    assert "drops" not in algo.train()["info"]
    cluster = algo._run.cluster
    cluster._door.send("learner/0", Message(Kind.TELL, "nothing", [[], {}]))
    drops = algo.train()["info"]["drops"]
    algo.stop()
    assert drops == {"learner": {"told a method that is not there": 1}}
