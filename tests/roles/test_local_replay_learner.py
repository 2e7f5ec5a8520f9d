"""The learner with a buffer of its own: the order of rows, the ratio, priorities, what is true of
every sampled row."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.base import Setup
from actorrl.algorithms.dqn import DQN, make_update
from actorrl.data import columns as c
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.roles.local_replay_learner import LocalReplayLearner, LocalReplaySettings
from actorrl.runtime.program import Program, Request, State
from actorrl.topologies.local_replay import IN_FLIGHT
from tests.roles import worlds
from tests.roles.test_replay_roles import check_row, rows_in

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
BATCH = 16


def program_of(num_workers: int, samples_per_insert: float, **replay: Any) -> Program:
    """Workers that answer with 8 rows each when the test says so."""
    config, info = worlds.configured("DQN", COUNTING)
    update = worlds.recording(functools.partial(make_update, config, info, 0))
    settings = LocalReplaySettings(
        **{"capacity": 500, "alpha": None, "min_size": 16, **replay},
        samples_per_insert=samples_per_insert,
    )
    program = Program("local replay")
    learner = program.add("learner", LocalReplayLearner, worlds.learner(update, BATCH), settings)
    workers = program.add_group("rollout", worlds.AskedForRows, count=num_workers)
    program.link("samples", Request(IN_FLIGHT), learner, workers)
    program.link("weights", State(), learner, workers)
    return program


def play_rounds(cluster: Any, num_workers: int, orders: list[list[int]]) -> dict[str, Any]:
    """Rounds in which the workers answer in the given orders."""
    future = worlds.begin(cluster, min_updates=0, min_env_steps=8 * num_workers * len(orders))
    for order in orders:
        worlds.poll(cluster)
        for index in order:
            worlds.actor(cluster, f"rollout/{index}").answer()
            worlds.poll(cluster)
    report: dict[str, Any] = future.result()
    return report


def test_rows_stand_in_the_order_of_the_workers_whoever_answers_first() -> None:
    stored = []
    for orders in ([[0, 1, 2], [0, 1, 2]], [[2, 0, 1], [1, 2, 0]]):
        with worlds.running(program_of(3, 1.0)) as cluster:
            play_rounds(cluster, 3, orders)
            rows = worlds.actor(cluster).replays[""].buffer._rows
            stored.append(rows.gather(np.arange(rows.first_id, rows.next_id))[c.OBS])
            batches = worlds.actor(cluster).update.batches
            stored[-1] = np.concatenate([stored[-1], *(b[c.OBS].numpy() for b in batches)])
    np.testing.assert_array_equal(stored[0], stored[1])
    np.testing.assert_array_equal(stored[0][:48:8, 0], [0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("samples_per_insert", [0.5, 4.0])
def test_as_many_updates_follow_a_round_as_the_ratio_asks_for(samples_per_insert: float) -> None:
    """Of 96 rows the first 16 are not counted."""
    with worlds.running(program_of(2, samples_per_insert)) as cluster:
        report = play_rounds(cluster, 2, [[0, 1]] * 6)
    expected = samples_per_insert * (96 - 16) / BATCH
    assert expected <= report["num_updates"] <= expected + 1
    assert report["counters"]["replay_size"] == 96
    assert report["timesteps_total"] == 96


def test_before_learning_starts_there_is_no_update() -> None:
    with worlds.running(program_of(1, 4.0, min_size=100)) as cluster:
        report = play_rounds(cluster, 1, [[0]] * 12)
        assert report["num_updates"] == 0
        report = play_rounds(cluster, 1, [[0]])
        assert report["num_updates"] > 0


def test_workers_are_told_the_runs_env_steps_on_which_exploration_depends() -> None:
    with worlds.running(program_of(2, 1.0)) as cluster:
        play_rounds(cluster, 2, [[0, 1]] * 3)
        told = [worlds.actor(cluster, f"rollout/{i}").told for i in range(2)]
    assert told == [[0, 16, 32]] * 2


def test_uniform_rows_weigh_one_and_prioritized_ones_less_the_more_often_they_come() -> None:
    with worlds.running(program_of(1, 4.0)) as cluster:
        play_rounds(cluster, 1, [[0]] * 6)
        batches = worlds.actor(cluster).update.batches
        assert all((batch[c.WEIGHTS] == 1).all() for batch in batches)
    beta = PiecewiseSchedule([(0.0, 1.0)])
    with worlds.running(program_of(1, 4.0, alpha=1.0, beta=beta)) as cluster:
        play_rounds(cluster, 1, [[0]] * 6)
        learner = worlds.actor(cluster)
        buffer = learner.replays[""].buffer
        buffer.check_valid()
        ids = buffer._rows.first_id + np.arange(48)
        buffer.update_priorities(ids, np.where(np.arange(48) < 24, 3.0, 1.0))
        learner.update.batches.clear()
        learner.replays[""].mass = buffer.mass
        learner.learn_from_replay()
        weights = learner.update.batches[0][c.WEIGHTS]
    assert weights.max() == pytest.approx(1.0) and weights.min() == pytest.approx(1 / 3, rel=1e-3)


@pytest.mark.parametrize("prioritized", [True, False])
@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("n_step", [1, 3])
def test_no_sampled_transition_spans_the_end_of_an_episode(
    n_step: int, autoreset: str, prioritized: bool
) -> None:
    config, info = worlds.configured("DQN", COUNTING, n_step=n_step, autoreset=autoreset)
    config.training(num_workers=2, num_envs_per_worker=3, rollout_fragment_length=2, gamma=0.9)
    config.training(learning_starts=20, train_batch_size=32, prioritized_replay=prioritized)
    program = DQN.program(config, Setup(info, 0, lambda: None))
    node = program.nodes["learner/0"]
    make = functools.partial(make_update, config, info, 0)
    node.args = (worlds.learner(worlds.recording(make, learns=True), 32), *node.args[1:])
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=60)
        batches: list[dict[str, torch.Tensor]] = worlds.actor(cluster).update.batches
        worlds.actor(cluster).replays[""].buffer.check_valid()
    kinds = [check_row(row, n_step, 0.9) for batch in batches for row in rows_in(batch)]
    assert len(kinds) >= 60 * 32
    assert {"whole", "terminated"} <= set(kinds), "the test saw what it is for"
    assert "truncated" in kinds or n_step == 1


def test_no_transition_leads_over_rows_that_a_users_function_has_taken() -> None:
    config, info = worlds.configured("DQN", COUNTING, n_step=3, gamma=0.9)
    config.training(num_workers=1, num_envs_per_worker=3, rollout_fragment_length=2)
    config.training(learning_starts=20, train_batch_size=32)
    program = DQN.program(config, Setup(info, 0, lambda: None))
    with worlds.running(program) as cluster:
        worker = worlds.actor(cluster, "rollout/0")
        for _ in range(20):
            worlds.train(cluster, min_updates=0, min_env_steps=12)
            assert worker._sampling.view.sample().count > 0
        rows = worlds.actor(cluster).replays[""].buffer._rows
        held = rows.gather(np.arange(rows.first_id, rows.next_id))
    for row in rows_in({name: torch.from_numpy(column) for name, column in held.items()}):
        check_row(row, 3, 0.9)


def test_a_learner_that_comes_back_goes_on_drawing_where_it_stopped() -> None:
    with worlds.running(program_of(1, 4.0, alpha=0.6)) as cluster:
        play_rounds(cluster, 1, [[0]] * 6)
        state = worlds.actor(cluster).get_state()
        random = worlds.actor(cluster).replays[""].buffer.state_dict()
    with worlds.running(program_of(1, 4.0, alpha=0.6)) as cluster:
        learner = worlds.actor(cluster)
        learner.set_state(state)
        play_rounds(cluster, 1, [[0]])
        assert learner.replays[""].buffer.state_dict() == random, (
            "nothing drawn yet: the buffer fills anew"
        )
