"""The learner of IMPALA: batches of what came next, and what is too old."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from actorrl.algorithms.base import Setup
from actorrl.algorithms.impala import IMPALA, IMPALAUpdate
from actorrl.data import columns as c
from actorrl.roles.queue_learner import QueueLearner
from actorrl.runtime.program import Program, State, Stream
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


def program_of(versions: list[int], batch_size: int, max_policy_lag: int | None = None) -> Program:
    """Sources that stream given fragments to a real learner whose update learns nothing."""
    config, info = worlds.configured("IMPALA", COUNTING)
    update = worlds.recording(functools.partial(IMPALAUpdate, config, info, 0))
    settings = worlds.learner(update, batch_size, max_policy_lag=max_policy_lag)
    program = Program("queue")
    learner = program.add("learner", QueueLearner, settings)
    sources = program.add_group("rollout", worlds.Source, versions, count=2)
    program.link("samples", Stream(2), sources, learner)
    program.link("weights", State(), learner, sources)
    return program


def test_a_batch_is_the_next_fragments_side_by_side() -> None:
    with worlds.running(program_of([1] * 6, batch_size=24)) as cluster:
        report = worlds.train(cluster, min_updates=4)
        batches = worlds.actor(cluster).update.batches
    assert report["num_updates"] == 4 and report["timesteps_total"] == 4 * 24
    seen: dict[int, list[int]] = {0: [], 1: []}
    for batch in batches:
        obs = batch[c.OBS].numpy()  # [T+1, 3 fragments x 2 envs, (worker, number, row)]
        assert obs.shape == (5, 6, 3) and batch[c.REWARDS].shape == (4, 6)
        assert (obs[..., 2] == np.arange(5)[:, None]).all(), "rows keep their order"
        for worker, number, _ in obs[0, ::2]:
            seen[int(worker)].append(int(number))
    assert seen == {0: list(range(6)), 1: list(range(6))}, "each fragment once, in order"


def test_a_batch_has_all_the_fragments_that_fill_it() -> None:
    with worlds.running(program_of([1] * 10, batch_size=80)) as cluster:
        worlds.train(cluster, min_updates=2)
        batches = worlds.actor(cluster).update.batches
    assert [batch[c.REWARDS].shape for batch in batches] == [(4, 20)] * 2, "ten of eight rows each"


def test_fragments_in_which_episodes_end_make_no_batch_wait_for_another() -> None:
    config, info = worlds.configured("IMPALA", COUNTING)
    config.training(num_workers=1, num_envs_per_worker=4, rollout_fragment_length=8)
    config.training(train_batch_size=2 * 4 * 8)
    program = IMPALA.program(config, Setup(info, 0, lambda: None))
    update = worlds.recording(functools.partial(IMPALAUpdate, config, info, 0))
    program.nodes["learner/0"].args = (worlds.learner(update, config.train_batch_size),)
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=5)
        batches = worlds.actor(cluster).update.batches
    assert {tuple(batch[c.VALID].shape) for batch in batches} == {(8, 8)}
    assert all(int(batch[c.VALID].sum()) < 0.95 * 64 for batch in batches), "episodes have ended"


def test_fragments_beyond_the_largest_lag_are_dropped_and_counted() -> None:
    """Version 1 is published at the start, and each update makes one more: fragments of version 1
    are 0, 1 and 2 updates old, then too old."""
    with worlds.running(program_of([1] * 4 + [4], 8, max_policy_lag=2)) as cluster:
        report = worlds.train(cluster, min_updates=4)
        batches = worlds.actor(cluster).update.batches
    assert report["counters"]["num_dropped_stale"] == 5
    assert (report["policy_lag_max"], report["num_updates"]) == (2, 4)
    assert report["policy_lag_mean"] == (0 + 1 + 2 + 0) / 4
    numbers = [int(batch[c.OBS][0, 0, 1]) for batch in batches]
    assert numbers == [0, 0, 1, 4]
    assert report["timesteps_total"] == 9 * 8, "what was dropped was experienced nevertheless"
    assert len(report["episodes"]) == 9


def test_without_a_limit_nothing_is_dropped() -> None:
    with worlds.running(program_of([1] * 10, 8)) as cluster:
        report = worlds.train(cluster, min_updates=20)
    assert report["counters"]["num_dropped_stale"] == 0 and report["policy_lag_max"] == 19


def test_between_two_iterations_no_update_starts_and_workers_stop_at_their_credit() -> None:
    with worlds.running(program_of([1] * 50, 8)) as cluster:
        worlds.train(cluster, min_updates=3)
        worlds.poll(cluster, 20)
        sent = [worlds.actor(cluster, f"rollout/{i}").num_sent for i in range(2)]
        worlds.poll(cluster, 20)
        assert sent == [worlds.actor(cluster, f"rollout/{i}").num_sent for i in range(2)]
        assert worlds.actor(cluster).tally.num_updates == 3
        assert sum(sent) == 3 + 2 * 2, "the credit of both"
        report = worlds.train(cluster, min_updates=4)
    assert report["num_updates"] == 7 and report["timesteps_total"] == 7 * 8


def test_real_workers_act_with_weights_at_most_some_updates_old() -> None:
    config, info = worlds.configured("IMPALA", COUNTING, num_workers=3, rollout_fragment_length=5)
    config.training(num_envs_per_worker=2, train_batch_size=30, max_policy_lag=None)
    with worlds.running(IMPALA.program(config, Setup(info, 0, lambda: None))) as cluster:
        report = worlds.train(cluster, min_updates=20)
    assert 0 <= report["policy_lag_max"] <= 3, "two fragments in flight of each worker"
    assert report["stats"]["rho_mean"] == pytest.approx(1.0, abs=0.2)
