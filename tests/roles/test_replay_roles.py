"""Ape-X's shards and learner together: whose batch, whose priorities, which weights, which rows."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.apex_dqn import APEX, make_policy, make_postprocess, make_update
from actorrl.algorithms.base import Setup
from actorrl.data import columns as c
from actorrl.envs.vector import make_vector
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.roles.replay_learner import ReplayLearner
from actorrl.roles.replay_shard import ReplayShard, ShardSettings
from actorrl.rollouts.collector import Collector
from actorrl.runtime.actor import Actor
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.program import Program, Request, State, Stream
from actorrl.testing.probe_envs import reward_of
from actorrl.topologies.distributed_replay import PREFETCH, PRIORITIES_CREDIT
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
CREDO = "credo"  # a column of the tests: the priority that the learner is to give the row


# ---- shards with known rows -----------------------------------------------------------------


class RowSource(Actor):
    """Puts given rows into shard 0 and shard 1, once."""

    def __init__(self, rows: list[dict[str, np.ndarray]]) -> None:
        self._rows = rows

    def has_work(self) -> bool:
        return bool(self._rows)

    def step(self) -> None:
        shard = len(self._rows) - 1
        body = {"num_env_steps": 0, "episodes": []}
        self.context.stream("samples").send(body, self._rows.pop(), to=f"replay/{shard}")


class TellsCredo(worlds.RecordingUpdate):
    """Its TD errors are what the rows themselves say."""

    def __call__(self, batch: dict[str, torch.Tensor], timesteps: int) -> dict[str, Any]:
        super().__call__(batch, timesteps)
        return {c.PRIORITIES: batch[CREDO].numpy()}


def rows_of(shard: int, count: int, priority: float, credo: float) -> dict[str, np.ndarray]:
    """Rows whose reward is a number of their own; `credo` 0 for one that differs by row."""
    numbers = np.arange(count, dtype=np.float32)
    return {
        c.REWARDS: numbers + 1000 * shard,
        c.PRIORITIES: np.full(count, priority, np.float32),
        CREDO: np.full(count, credo, np.float32) if credo else credo_of(shard, numbers),
    }


def credo_of(shard: int, number: np.ndarray) -> np.ndarray:
    return (2 + number / 100 + shard / 200).astype(np.float32)


def two_shards(rows: list[dict[str, np.ndarray]], beta: float = 1.0) -> Program:
    config, info = worlds.configured("APEX", COUNTING)
    make = functools.partial(make_update, config, info, 0)
    shard = ShardSettings(
        capacity=200, alpha=1.0, eps=1e-6, min_size=1, samples_per_insert=1e6, tolerance=1e9, seed=0
    )
    program = Program("two shards")
    shards = program.add_group("replay", ReplayShard, shard, count=2)
    settings = worlds.learner(lambda device: TellsCredo(make(device), False), 50)
    schedule = PiecewiseSchedule([(0.0, beta)])
    learner = program.add("learner", ReplayLearner, settings, schedule, PREFETCH, 0)
    source = program.add("rollout", RowSource, rows)
    program.link("samples", Stream(2), source, shards)
    program.link("replay", Request(PREFETCH), learner, shards)
    program.link("priorities", Stream(PRIORITIES_CREDIT, full="drop_oldest"), learner, shards)
    program.link("inserts", Stream(1, full="drop_oldest"), shards, learner)
    program.link("weights", State(), learner, source)
    return program


def fill(cluster: Cluster) -> None:
    """Both shards have their rows, and the learner knows their masses."""
    learner = worlds.actor(cluster)

    def known() -> bool:
        return len(learner._masses) == 2 and all(m.total > 0 for m in learner._masses.values())

    worlds.poll_until(cluster, known)


def test_importance_weights_over_two_shards_undo_masses_of_9_to_1() -> None:
    """Beta 1: the weighted mean of anything is its mean over all rows, each shard's share of which
    is one half, though nine of ten batches come from the first."""
    rows = [rows_of(0, 100, 9.0, 9.0), rows_of(1, 100, 1.0, 1.0)]
    with worlds.running(two_shards(rows)) as cluster:
        fill(cluster)
        worlds.train(cluster, min_updates=600)
        batches = worlds.actor(cluster).update.batches
    rewards = torch.stack([batch[c.REWARDS] for batch in batches]).double()
    weights = torch.stack([batch[c.WEIGHTS] for batch in batches]).double()
    from_first = (rewards[:, 0] < 1000).double().mean()
    assert from_first == pytest.approx(0.9, abs=0.04), "asked in proportion to mass"
    assert weights.max() == pytest.approx(1.0), "divided by the largest over both shards"
    assert weights[rewards < 1000].max() == pytest.approx(1 / 9, rel=1e-3)
    mean = float((weights * rewards).sum() / weights.sum())
    assert mean == pytest.approx(0.5 * 49.5 + 0.5 * 1049.5, rel=0.08)
    in_first = rewards < 1000
    of_first = float((weights * rewards)[in_first].sum() / weights[in_first].sum())
    assert of_first == pytest.approx(49.5, rel=0.02)


def test_priorities_go_back_to_the_shard_that_served_the_batch() -> None:
    """Ids are the same in both shards: given to the wrong one, a row would get a stranger's."""
    rows = [rows_of(0, 60, 1.0, 0.0), rows_of(1, 60, 1.0, 0.0)]
    with worlds.running(two_shards(rows)) as cluster:
        fill(cluster)
        worlds.train(cluster, min_updates=40)
        worlds.poll(cluster, 20)
        replays = [worlds.actor(cluster, f"replay/{i}")._replay for i in range(2)]
    for shard, replay in enumerate(replays):
        replay.check_valid()
        slots = replay._rows.slots(replay._rows.first_id + np.arange(60))
        masses = replay._tree.get(slots)
        credos = credo_of(shard, np.arange(60))
        learned = masses > 1.5
        assert learned.sum() > 50, "nearly every row was sampled"
        np.testing.assert_allclose(masses[learned], credos[learned], rtol=1e-5)
        assert replay.num_dropped_updates == 0


def test_a_shard_that_is_lost_is_asked_no_more_until_it_has_rows_again() -> None:
    rows = [rows_of(0, 60, 1.0, 1.0), rows_of(1, 60, 1.0, 1.0)]
    with worlds.running(two_shards(rows)) as cluster:
        fill(cluster)
        worlds.train(cluster, min_updates=10)
        worlds.lose(cluster, "replay/1")
        worlds.poll(cluster)
        learner = worlds.actor(cluster)
        learner.update.batches.clear()
        worlds.train(cluster, min_updates=30)
        late = [int(batch[c.REWARDS][0] >= 1000) for batch in learner.update.batches]
        assert sum(late) <= PREFETCH, "only what had been gathered before"
        assert not any(late[PREFETCH:])
        assert learner._num_in_flight() <= PREFETCH


# ---- what workers send ----------------------------------------------------------------------


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_workers_first_priorities_are_the_learners_own(autoreset: Any, clip: Any) -> None:
    """While target and online network are the same, that is with the first weights."""
    config, info = worlds.configured("APEX", COUNTING, n_step=3, num_envs_per_worker=4)
    update = make_update(config, info, 0, "cpu")
    policy = make_policy(config, info, 1, np.arange(4))
    policy.load_flat(update.policy.flat_weights(), 1)
    vector = make_vector(info.env, {}, 4, seed=0, autoreset=autoreset)
    collector = Collector(vector, policy, 64)
    postprocess = make_postprocess(config, clip, policy, 4)
    for _ in range(3):
        _, rows = postprocess(collector.collect())
        batch = {name: torch.from_numpy(x) for name, x in rows.items() if name != c.PRIORITIES}
        batch[c.WEIGHTS] = torch.ones(len(rows[c.PRIORITIES]))
        errors = update(batch, 0)[c.PRIORITIES]
        assert len(errors) > 100 and errors.std() > 0
        np.testing.assert_allclose(rows[c.PRIORITIES], errors, atol=1e-4, rtol=1e-5)
        update = make_update(config, info, 0, "cpu")  # it has learned: the first weights again


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("n_step", [1, 3, 5])
def test_no_sampled_transition_spans_the_end_of_an_episode(autoreset: str, n_step: int) -> None:
    """Through workers, shards and learner: each row is checked by what its observations say."""
    config, info = worlds.configured("APEX", COUNTING, n_step=n_step, autoreset=autoreset)
    config.training(num_workers=2, num_envs_per_worker=3, rollout_fragment_length=5, gamma=0.9)
    config.training(learning_starts=20, train_batch_size=32, samples_per_insert=8)
    program = APEX.program(config, Setup(info, 0, lambda: None))
    node = program.nodes["learner/0"]
    make = functools.partial(make_update, config, info, 0)
    node.args = (worlds.learner(worlds.recording(make, learns=True), 32), *node.args[1:])
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=60)
        batches = worlds.actor(cluster).update.batches
        for i in range(2):
            worlds.actor(cluster, f"replay/{i}")._replay.check_valid()
    kinds = [check_row(row, n_step, 0.9) for batch in batches for row in rows_in(batch)]
    assert len(kinds) == 60 * 32
    assert {"whole", "terminated"} <= set(kinds), "the test saw what it is for"
    assert "truncated" in kinds or n_step == 1


def rows_in(batch: dict[str, torch.Tensor]) -> list[tuple[Any, ...]]:
    names = (c.OBS, c.NEXT_OBS, c.REWARDS, c.DISCOUNTS)
    return list(zip(*(batch[name].numpy() for name in names), strict=True))


def check_row(row: tuple[Any, ...], n_step: int, gamma: float) -> str:
    (env, episode, step), after, reward, discount = row
    assert tuple(after[:2]) == (env, episode), "from one episode to another"
    length = int(after[2] - step)
    assert 1 <= length <= n_step
    rewards = [reward_of(int(env), int(episode), int(step) + i + 1) for i in range(length)]
    assert reward == pytest.approx(sum(gamma**i * r for i, r in enumerate(rewards)), rel=1e-5)
    if discount == 0:
        return "terminated"
    assert discount == pytest.approx(gamma**length)
    return "whole" if length == n_step else "truncated"
