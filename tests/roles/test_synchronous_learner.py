"""The learner of A2C: rounds of one share each, in the workers' order."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.a2c import A2C, A2CUpdate, compute_loss
from actorrl.algorithms.base import Setup
from actorrl.data import columns as c
from actorrl.roles.synchronous_learner import SynchronousLearner
from actorrl.runtime.program import Program, Request, State
from actorrl.topologies.synchronous import IN_FLIGHT
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


def program_of(num_workers: int, batch_size: int) -> Program:
    config, info = worlds.configured("A2C", COUNTING)
    update = worlds.recording(functools.partial(A2CUpdate, config, info, 0))
    program = Program("rounds")
    learner = program.add("learner", SynchronousLearner, worlds.learner(update, batch_size))
    workers = program.add_group("rollout", worlds.Asked, count=num_workers)
    program.link("samples", Request(IN_FLIGHT), learner, workers)
    program.link("weights", State(), learner, workers)
    return program


def workers_of(cluster: Any, count: int) -> list[worlds.Asked]:
    return [worlds.actor(cluster, f"rollout/{i}") for i in range(count)]


def order_in(batch: dict[str, torch.Tensor]) -> list[int]:
    """Whose fragments are in the batch, from left to right."""
    return [int(worker) for worker in batch[c.OBS][0, ::2, 0]]


def test_fragments_stand_in_the_order_of_the_workers_whoever_answers_first() -> None:
    with worlds.running(program_of(3, batch_size=3 * 8)) as cluster:
        workers = workers_of(cluster, 3)
        for first, second, third in ((2, 0, 1), (1, 2, 0)):
            future = worlds.begin(cluster)
            worlds.poll(cluster)
            for index in (first, second, third):
                workers[index].answer()
                worlds.poll(cluster)
            report = future.result()
        batches = worlds.actor(cluster).update.batches
    assert [order_in(batch) for batch in batches] == [[0, 1, 2], [0, 1, 2]]
    assert [env for env, _, _ in report["episodes"]] == [0, 1, 2]
    assert report["policy_lag_max"] == 0


def test_a_batch_may_take_several_rounds() -> None:
    with worlds.running(program_of(2, batch_size=20)) as cluster:
        workers = workers_of(cluster, 2)
        future = worlds.begin(cluster)
        worlds.poll(cluster)
        while not future.done():
            for worker in workers:
                worker.answer()
                worlds.poll(cluster)
        batch = worlds.actor(cluster).update.batches[0]
    assert order_in(batch) == [0, 1, 0, 1]
    assert future.result()["timesteps_total"] == 32, "at least train_batch_size"


def test_a_lost_workers_share_is_asked_of_the_others_within_the_round() -> None:
    with worlds.running(program_of(3, batch_size=24)) as cluster:
        workers = workers_of(cluster, 3)
        future = worlds.begin(cluster)
        worlds.poll(cluster)
        workers[0].answer()
        worlds.poll(cluster)
        worlds.lose(cluster, "rollout/2")
        worlds.poll(cluster)
        assert workers[0].num_asked + workers[1].num_asked == 3, "one of them has a share more"
        for worker in (*workers[:2], *workers[:2]):
            if worker.requests:
                worker.answer()
                worlds.poll(cluster)
        report = future.result()
        batch = worlds.actor(cluster).update.batches[0]
    assert batch[c.REWARDS].shape == (4, 6) and set(order_in(batch)) == {0, 1}
    assert report["timesteps_total"] == 24


def test_a_worker_that_is_back_has_its_own_share_of_the_next_round() -> None:
    with worlds.running(program_of(2, batch_size=16)) as cluster:
        workers = workers_of(cluster, 2)
        future = worlds.begin(cluster)
        worlds.poll(cluster)
        bring_back = worlds.lose(cluster, "rollout/1")
        worlds.poll(cluster)
        workers[0].answer()
        workers[0].answer()
        worlds.poll(cluster)
        assert future.done()
        workers[1].requests.clear()
        bring_back()
        future = worlds.begin(cluster)
        worlds.poll(cluster)
        for worker in workers:
            worker.answer()
        worlds.poll(cluster)
        batches = worlds.actor(cluster).update.batches
    assert future.done() and [order_in(batch) for batch in batches] == [[0, 0], [0, 1]]


def test_a_round_that_is_complete_between_two_iterations_is_learned_from_in_the_second() -> None:
    """`stay` lets the workers sample ahead; which update is in which iteration stays the same."""
    with worlds.running(program_of(2, batch_size=16)) as cluster:
        workers = workers_of(cluster, 2)

        def answer() -> None:
            worlds.poll(cluster)
            for worker in workers:
                worker.answer()
            worlds.poll(cluster)

        future = worlds.begin(cluster, stay=True)
        answer()
        assert future.result()["num_updates"] == 1
        answer()
        learner = worlds.actor(cluster)
        assert (learner.tally.num_updates, learner.tally.timesteps_total) == (1, 16)
        report = worlds.train(cluster)
        assert (report["num_updates"], report["timesteps_total"]) == (2, 32)
        assert not any(worker.requests for worker in workers), "no `stay`: nobody is asked"


def test_a_round_that_comes_in_after_a_pause_waits_for_the_next_iteration() -> None:
    with worlds.running(program_of(2, batch_size=16)) as cluster:
        workers = workers_of(cluster, 2)
        worlds.begin(cluster)
        worlds.poll(cluster)
        workers[0].answer()
        cluster.ref("learner/0").pause.call().result()
        workers[1].answer()
        worlds.poll(cluster)
        assert worlds.actor(cluster).tally.num_updates == 0
        assert worlds.train(cluster)["num_updates"] == 1


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_the_gradient_over_all_workers_is_that_of_their_fragments_weighted_by_valid_rows(
    autoreset: str,
) -> None:
    """The mean over the joint batch, put together from one fragment after the other."""
    config, info = worlds.configured("A2C", COUNTING, grad_clip=None, autoreset=autoreset)
    config.training(num_workers=3, num_envs_per_worker=2, rollout_fragment_length=7)
    config.training(train_batch_size=3 * 7, entropy_coeff=0.01)
    make_update = functools.partial(A2CUpdate, config, info, 0)
    program = A2C.program(config, Setup(info, 0, lambda: None))
    settings = worlds.learner(worlds.recording(make_update, learns=True), 3 * 7)
    program.nodes["learner/0"].args = (settings,)
    reference = make_update("cpu").policy  # the same seed: the weights before the first update
    with worlds.running(program) as cluster:
        worlds.train(cluster)
        update = worlds.actor(cluster).update
        joint, batch = update.policy.flat_gradient(), update.batches[0]
    total = np.zeros_like(joint)
    num_valid = int(batch[c.VALID].sum())
    assert num_valid < 42 or autoreset == "same_step", "some rows are no decisions"
    for worker in range(3):
        part = columns_of(batch, worker)
        reference.flat.zero_gradient()
        loss, _ = compute_loss(config, False, reference, part, 0)
        loss.backward()
        total += reference.flat_gradient() * int(part[c.VALID].sum()) / num_valid
    np.testing.assert_allclose(joint, total, atol=2e-5, rtol=1e-4)


def columns_of(batch: dict[str, torch.Tensor], worker: int) -> dict[str, torch.Tensor]:
    """One worker's two environments out of a batch of six."""
    mine = slice(2 * worker, 2 * worker + 2)
    part = {n: x[:, mine] for n, x in batch.items() if n not in (c.FINAL_OBS, c.FINAL_ROWS)}
    if c.FINAL_ROWS in batch:
        row, env = batch[c.FINAL_ROWS] // 6, batch[c.FINAL_ROWS] % 6
        own = (env >= mine.start) & (env < mine.stop)
        part[c.FINAL_OBS] = batch[c.FINAL_OBS][own]
        part[c.FINAL_ROWS] = (row * 2 + env - mine.start)[own]
    return part
