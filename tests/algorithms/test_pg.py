"""REINFORCE: its step along the gradient of the formula, from the rows of whole episodes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from actorrl.algorithms.base import Setup
from actorrl.algorithms.pg import PG, PGConfig, PGUpdate
from actorrl.data import columns as c
from actorrl.envs.multi_agent import make_multi_agent
from actorrl.roles.batch import RowBatch
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"


def test_the_gradient_is_that_of_log_probability_times_normalised_return() -> None:
    config, info = worlds.configured("PG", COUNTING, grad_clip=None)
    update = PGUpdate(config, info, 0, "cpu")
    reference = PGUpdate(config, info, 0, "cpu").policy  # the same seed: the same weights
    random = np.random.default_rng(0)
    obs = random.normal(size=(5, 3)).astype(np.float32)
    actions, returns = random.integers(3, size=5), random.normal(size=5).astype(np.float32)
    batch = {c.OBS: obs, c.ACTIONS: actions, c.ADVANTAGES: returns}
    metrics = update({name: torch.from_numpy(x) for name, x in batch.items()}, 0)
    weights = (returns - returns.mean()) / returns.std()
    total = torch.zeros(())
    for i in range(5):
        logits = reference.model(torch.from_numpy(obs[i : i + 1]))[0][0]
        total = total - torch.log_softmax(logits, 0)[actions[i]] * float(weights[i]) / 5
    reference.flat.zero_gradient()
    total.backward()
    assert float(metrics["policy_loss"]) == pytest.approx(total.item(), abs=1e-5)
    np.testing.assert_allclose(
        update.policy.flat_gradient(), reference.flat_gradient(), atol=1e-6, rtol=1e-4
    )


def test_a_batch_is_of_whole_episodes_only() -> None:
    """Rows from the middle of an episode wait for its end, also where a round ends in between."""
    config, info = worlds.configured("PG", COUNTING, gamma=1.0, train_batch_size=40)
    config.rollouts(num_workers=2, num_envs_per_worker=2, rollout_fragment_length=5)
    settings = worlds.learner(worlds.recording(lambda d: PGUpdate(config, info, 0, d)), 40)
    program = PG.program(config, Setup(info, 0, lambda: None))
    program.nodes["learner/0"].args = (dataclasses.replace(settings, make_batch=RowBatch),)
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=2)
        batches = worlds.actor(cluster).update.batches
    for batch in batches:
        assert len(batch[c.OBS]) >= 40
        rows: dict[tuple[int, int], list[int]] = {}
        for env, episode, step in batch[c.OBS].int().tolist():
            rows.setdefault((env, episode), []).append(step)
        assert all(steps[0] == 0 for steps in rows.values())


def test_with_an_lstm_each_episode_is_seen_from_its_beginning() -> None:
    """Against a loop over single rows, the state kept by hand; episodes of 3, 1 and 4 rows."""
    memory = {"use_lstm": True, "lstm_cell_size": 8, "fcnet_hiddens": [8]}
    config, info = worlds.configured("PG", COUNTING, grad_clip=None)
    config.training(model=memory)
    update = PGUpdate(config, info, 0, "cpu")
    reference = PGUpdate(config, info, 0, "cpu").policy
    random = np.random.default_rng(0)
    steps = np.array([0, 1, 2, 0, 0, 1, 2, 3], np.int32)
    obs = random.normal(size=(8, 3)).astype(np.float32)
    actions, returns = random.integers(3, size=8), random.normal(size=8).astype(np.float32)
    batch = {c.OBS: obs, c.ACTIONS: actions, c.ADVANTAGES: returns, c.T: steps}
    metrics = update({name: torch.from_numpy(x) for name, x in batch.items()}, 0)
    weights = (returns - returns.mean()) / returns.std()
    total, state = torch.zeros(()), reference.model.initial_state(1)
    for i in range(8):
        if steps[i] == 0:
            state = reference.model.initial_state(1)
        row = torch.from_numpy(obs[i].reshape(1, 1, 3))
        logits, _, state = reference.model.sequence(row, state)
        total = total - torch.log_softmax(logits[0, 0], 0)[actions[i]] * float(weights[i]) / 8
    reference.flat.zero_gradient()
    total.backward()
    assert float(metrics["policy_loss"]) == pytest.approx(total.item(), abs=1e-5)
    np.testing.assert_allclose(
        update.policy.flat_gradient(), reference.flat_gradient(), atol=1e-6, rtol=1e-4
    )


@pytest.mark.parametrize("agents", [None, 2])
def test_rows_of_workers_tell_an_lstm_where_episodes_begin(
    agents: int | None, tmp_path: Path
) -> None:
    config = PGConfig().environment(make_multi_agent("CartPole-v1") if agents else "CartPole-v1")
    config.rollouts(num_workers=0, num_envs_per_worker=2).debugging(seed=0)
    config.training(train_batch_size=50, model={"use_lstm": True, "lstm_cell_size": 8})
    if agents:
        config.environment(env_config={"num_agents": agents})
        config.multi_agent(policies=["a", "b"], policy_mapping_fn="ab".__getitem__)
    with config.build(results=tmp_path, name="run") as algo:
        assert [algo.train()["num_updates"] for _ in range(2)] == [1, 2]
