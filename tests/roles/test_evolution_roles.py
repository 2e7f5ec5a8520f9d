"""ES and ARS: what crosses the wire, whole pairs, the filter, and the step that is made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actorrl.algorithms.base import Setup
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.losses.evolution import ars_step, best_directions, centered_ranks, mirrored_gradient
from actorrl.policies.evolution import perturbation
from actorrl.roles.evolution_worker import RETURNS, SEEDS
from actorrl.runtime.links import Asked
from tests.losses.reference_q import adam
from tests.roles import worlds

PAIRS = 6


def program_of(name: str = "ES", num_workers: int = 2, **settings: Any) -> Any:
    config = config_class(name)().environment("CartPole-v1").rollouts(num_envs_per_worker=2)
    size = {"ES": {"episodes_per_batch": 2 * PAIRS}, "ARS": {"num_rollouts": PAIRS}}[name]
    config.training(num_workers=num_workers, num_plain_episodes=1, **size)
    config.training(**({"rollouts_used": 3} if name == "ARS" else {}), **settings)
    return config.algorithm.program(config, Setup(checked(config), 0, lambda: None))


def recorded(program: Any) -> None:
    node = program.nodes["learner/0"]
    make = node.args[0].make_update
    settings = worlds.learner(worlds.recording(make, learns=True), PAIRS)
    node.args = (settings, *node.args[1:])


def test_only_seeds_and_returns_cross_the_wire_however_large_the_network(monkeypatch: Any) -> None:
    sizes: dict[int, int] = {}
    for hidden in (4, 400):
        seen: list[int] = []
        respond = Asked.respond

        def watched(
            asked: Any, body: Any, arrays: Any, respond: Any = respond, seen: Any = seen
        ) -> bool:
            seen.append(sum(x.nbytes for x in arrays.values()) + 8 * len(asked.body["seeds"]))
            return bool(respond(asked, body, arrays))

        with monkeypatch.context() as patch:
            patch.setattr(Asked, "respond", watched)
            program = program_of(model={"fcnet_hiddens": [hidden]})
            with worlds.running(program) as cluster:
                worlds.train(cluster, min_updates=2)
        assert len(seen) >= 4
        sizes[hidden] = max(seen)
    assert sizes[4] == sizes[400] < 1000


def test_seeds_of_a_round_are_all_different_and_come_in_no_other_round() -> None:
    program = program_of()
    recorded(program)
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=5)
        batches = worlds.actor(cluster).update.batches
    seeds = np.concatenate([batch[SEEDS].numpy() for batch in batches])
    assert all(batch[RETURNS].shape == (PAIRS, 2) for batch in batches)
    assert len(set(seeds.tolist())) == len(seeds) == 5 * PAIRS


@pytest.mark.parametrize("first_to_answer", [0, 1])
def test_a_share_that_is_played_by_another_worker_has_the_same_whole_pairs(
    first_to_answer: int,
) -> None:
    """One of two workers dies in the round: the batch is as if it had lived."""
    batches = []
    for dies in (False, True):
        program = program_of()
        recorded(program)
        with worlds.running(program) as cluster:
            lost = f"rollout/{1 - first_to_answer}"
            if dies:
                worlds.lose(cluster, lost)
            worlds.train(cluster, min_updates=1)
            batches.append(worlds.actor(cluster).update.batches[0])
    for name in (SEEDS, RETURNS):
        assert batches[0][name].shape == batches[1][name].shape
    np.testing.assert_array_equal(batches[0][SEEDS], batches[1][SEEDS])


def test_the_step_of_es_is_adams_along_the_ranks_of_all_workers_returns() -> None:
    program = program_of(l2_coeff=0.01, lr=0.05, observation_filter="NoFilter")
    recorded(program)
    with worlds.running(program) as cluster:
        before = worlds.actor(cluster).update.policy.parameters.copy().astype(np.float64)
        worlds.train(cluster, min_updates=1)
        (batch,) = worlds.actor(cluster).update.batches
        after = worlds.actor(cluster).update.policy.parameters
    noises = [perturbation(int(seed), len(before)) for seed in batch[SEEDS]]
    ascent = mirrored_gradient(centered_ranks(batch[RETURNS].numpy()), noises, 0.1)
    np.testing.assert_allclose(after, adam(before, [0.01 * before - ascent], 0.05), atol=1e-5)


def test_the_step_of_ars_takes_the_best_directions_only() -> None:
    program = program_of("ARS", lr=0.05, observation_filter="NoFilter")
    recorded(program)
    with worlds.running(program) as cluster:
        before = worlds.actor(cluster).update.policy.parameters.copy().astype(np.float64)
        worlds.train(cluster, min_updates=1)
        (batch,) = worlds.actor(cluster).update.batches
        after = worlds.actor(cluster).update.policy.parameters
    returns = batch[RETURNS].numpy()
    used = best_directions(returns, 3)
    noises = [perturbation(int(batch[SEEDS][i]), len(before)) for i in used]
    np.testing.assert_allclose(after, before + 0.05 * ars_step(returns[used], noises), atol=1e-5)


def test_the_filter_is_merged_from_all_workers_and_reaches_them_with_the_weights() -> None:
    with worlds.running(program_of()) as cluster:
        report = worlds.train(cluster, min_updates=3)
        update = worlds.actor(cluster).update
        assert update._filter._stat.count == report["timesteps_total"]
        mean = update.policy.filter_mean.copy()
        worlds.train(cluster, min_updates=1)
        worker = worlds.actor(cluster, "rollout/1")
        np.testing.assert_array_equal(worker._policy.filter_mean, mean)
    assert np.abs(mean).max() > 0


def test_reported_are_the_episodes_of_the_parameters_as_they_are() -> None:
    with worlds.running(program_of()) as cluster:
        report = worlds.train(cluster, min_updates=1)
    envs = [env for env, _, _ in report["episodes"]]
    assert sorted(env for env in envs if env >= 0) == [0, 2], "one of each worker"
    assert envs.count(-1) == 2 * PAIRS


@pytest.mark.parametrize("name", ["ES", "ARS"])
def test_a_state_goes_on_as_the_learner_that_it_was_taken_from(name: str) -> None:
    states = []
    with worlds.running(program_of(name)) as cluster:
        worlds.train(cluster, min_updates=2)
        states.append(worlds.actor(cluster).get_state())
        worlds.train(cluster, min_updates=1)
        expected = worlds.actor(cluster).update.policy.flat_weights()
    with worlds.running(program_of(name)) as cluster:
        worlds.actor(cluster).set_state(states[0])
        worlds.train(cluster, min_updates=1)
        found = worlds.actor(cluster).update.policy.flat_weights()
    np.testing.assert_array_equal(found, expected)
