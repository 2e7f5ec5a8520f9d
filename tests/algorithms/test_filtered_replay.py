"""`observation_filter` of the algorithms with replay: their updates see filtered rows, and the
statistics are those of every row that went into the replay, once each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms import apex_dqn, dqn
from actorrl.algorithms.apex_ddpg import first_priorities
from actorrl.algorithms.base import Setup
from actorrl.algorithms.ddpg import DeterministicUpdate
from actorrl.algorithms.sac import SACUpdate
from actorrl.data import columns as c
from actorrl.envs.filters import RunningStat
from actorrl.errors import ConfigError
from tests.policies.test_filtering import far, filtered
from tests.roles import worlds

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
UPDATES: dict[str, tuple[str, Any, str, dict[str, Any]]] = {
    "DQN": ("DQN", dqn.make_update, COUNTING, {"tau": 0.5}),
    "distributional": ("DQN", dqn.make_update, COUNTING, {"num_atoms": 5, "v_max": 40.0}),
    "APEX": ("APEX", apex_dqn.make_update, COUNTING, {"target_network_update_freq": 1}),
    "TD3": ("TD3", DeterministicUpdate, "Pendulum-v1", {"policy_delay": 1}),
    "SAC": ("SAC", SACUpdate, "Pendulum-v1", {}),
    "discrete SAC": ("SAC", SACUpdate, COUNTING, {}),
}
DISCRETE = ("DQN", "distributional", "APEX", "discrete SAC")


def transitions(is_discrete: bool, count: int = 32) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    even = random.uniform(-1, 1, (count, 1)).astype(np.float32)
    return {
        c.OBS: far(count, 1)[:, :3],
        c.NEXT_OBS: far(count, 2)[:, :3],
        c.ACTIONS: random.integers(3, size=count) if is_discrete else even,
        c.REWARDS: random.normal(size=count).astype(np.float32),
        c.DISCOUNTS: np.full(count, 0.9, np.float32),
        c.WEIGHTS: np.ones(count, np.float32),
    }


def made(name: str, **settings: Any) -> Any:
    algo, update, env, more = UPDATES[name]
    config, info = worlds.configured(algo, env, **more, **settings)
    return update(config, info, 0, "cpu")


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_of_raw_rows_is_that_of_filtered_ones_without_a_filter(name: str) -> None:
    """Three updates, so that target networks have moved; the filter's numbers have not."""
    plain, seen = made(name), far(100)[:, :3]
    update = made(name, observation_filter="MeanStdFilter")
    update.policy.note_rows({c.OBS: seen})
    raw = transitions(name in DISCRETE)
    rows = {**raw, **{key: filtered(raw[key], seen) for key in (c.OBS, c.NEXT_OBS)}}
    before = update.policy.get_weights()
    for _ in range(3):
        found = update({key: torch.from_numpy(x) for key, x in raw.items()}, 0)
        reference = plain({key: torch.from_numpy(x) for key, x in rows.items()}, 0)
        np.testing.assert_allclose(found[c.PRIORITIES], reference[c.PRIORITIES], atol=2e-4)
    for key, values in plain.policy.get_weights().items():
        np.testing.assert_allclose(update.policy.get_weights()[key], values, atol=1e-3)
    for key in ("filter.mean", "filter.scale"):
        np.testing.assert_array_equal(update.policy.get_weights()[key], before[key])


def test_first_priorities_of_apex_ddpg_are_of_filtered_rows() -> None:
    plain, seen = made("TD3"), far(100)[:, :3]
    update = made("TD3", observation_filter="MeanStdFilter")
    update.policy.note_rows({c.OBS: seen})
    raw = transitions(is_discrete=False)
    rows = {**raw, **{key: filtered(raw[key], seen) for key in (c.OBS, c.NEXT_OBS)}}
    found = first_priorities(update.policy, raw)
    np.testing.assert_allclose(found, first_priorities(plain.policy, rows), atol=2e-4)


def program(name: str, env: str) -> Any:
    config, info = worlds.configured(name, env, observation_filter="MeanStdFilter")
    config.training(num_workers=2, num_envs_per_worker=3, rollout_fragment_length=5)
    config.training(learning_starts=20, train_batch_size=32, replay_capacity=50_000)
    return config.algorithm.program(config, Setup(info, 0, lambda: None))


def first_observations(buffer: Any, count: int) -> np.ndarray:
    """Of the rows that went in first."""
    rows = buffer._rows
    found: np.ndarray = rows.gather(rows.first_id + np.arange(count))[c.OBS]
    return found


def assert_statistics(stat: RunningStat, obs: np.ndarray) -> None:
    assert stat.count == len(obs)
    np.testing.assert_allclose(stat.mean, obs.mean(0, dtype=np.float64), rtol=1e-9)
    np.testing.assert_allclose(stat.std, obs.std(0, ddof=1, dtype=np.float64), rtol=1e-9)


def test_statistics_are_of_each_row_in_the_learners_buffer_once() -> None:
    with worlds.running(program("DQN", COUNTING)) as cluster:
        worlds.train(cluster, min_updates=20)
        learner = worlds.actor(cluster)
        buffer, policy = learner.replays[""].buffer, learner.update.policy
        assert_statistics(policy.filter.stat, first_observations(buffer, len(buffer)))
        state = learner.get_state()
        worker = worlds.actor(cluster, "rollout/0")
        worker._sampling.refresh()
        acts_with = worker._sampling.policy.get_weights()["filter.mean"]
    np.testing.assert_allclose(acts_with, policy.filter.mean)
    assert state["filter"]["count"] == len(buffer), "a checkpoint goes on counting"


@pytest.mark.parametrize(("name", "env"), [("APEX", COUNTING), ("APEX_DDPG", "Pendulum-v1")])
def test_statistics_are_of_each_row_in_the_shards_once(name: str, env: str) -> None:
    """Of those rows that the shards have told of till now."""
    with worlds.running(program(name, env)) as cluster:
        worlds.train(cluster, min_updates=20)
        learner = worlds.actor(cluster)
        worlds.poll_until(cluster, lambda: len(learner._shards) == 2)  # each tells now and then
        told = {shard: body["num_inserted"] for shard, body in learner._shards.items()}
        obs = [
            first_observations(worlds.actor(cluster, shard)._replay, count)
            for shard, count in told.items()
        ]
        assert len(obs) == 2 and min(told.values()) > 0
        assert_statistics(learner.update.policy.filter.stat, np.concatenate(obs))


def test_images_are_refused_before_anything_starts() -> None:
    config, _ = worlds.configured("DQN", COUNTING, observation_filter="MeanStdFilter")
    config.environment(env_config={"frames": True})
    with pytest.raises(ConfigError, match="observation_filter: MeanStdFilter with"):
        config.program()
