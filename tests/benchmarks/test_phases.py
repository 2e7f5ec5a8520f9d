"""Where a run's time went is read from its rows' totals."""

from __future__ import annotations

import pytest

from benchmarks.harness import phases


def row(rollout, learner, metrics=None):
    return {"info": {"timing": {"rollout": rollout, "learner": learner}, "learner": metrics or {}}}


def test_workers_seconds_are_a_means_times_their_number_and_shards_count_too():
    found = phases.of_row(
        row(
            {"cpu_env_s": 2.0, "wait_credit_s": 0.5, "wait_state_s": 0.25},
            {"cpu_update_s": 3.0, "wait_input_s": 1.0},
            {"shards_cpu_insert_s": 0.5},
        ),
        num_workers=4,
    )
    assert found["phase_env"] == 8.0
    assert found["phase_learner"] == 3.0
    assert found["phase_copy"] == 0.5
    assert (found["waited_learner"], found["waited_rollout"]) == (1.0, 0.75)


def test_the_sentence_has_shares_waits_and_what_is_left_of_the_machine(monkeypatch):
    monkeypatch.setattr(phases.os, "sched_getaffinity", lambda pid: {0, 1})
    more = {"phase_env": 6.0, "phase_learner": 2.0, "cpu_s": 10.0, "seconds": 10.0}
    more |= {"waited_learner": 3.0, "waited_rollout": 0.1}
    assert phases.sentence(more) == (
        "env 75%, learner 25%; driver and agent 20% beside; learner waited 30% of the time;"
        " rollout waited 1% of the time; 50% of the cores not used"
    )


@pytest.mark.parametrize("more", [{}, {"phase_env": 0.0}])
def test_without_phases_there_is_no_sentence(more):
    assert phases.sentence(more) == ""
