"""`learn_on_batch` of a run's own policy: what the learner would have made of the same rows."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.data import columns as c
from actorrl.data.sample_batch import SampleBatch
from actorrl.envs.multi_agent import make_multi_agent
from actorrl.envs.vector import make_vector
from actorrl.errors import ConfigError, RunFailed
from actorrl.rollouts.collector import Collector
from actorrl.testing.probe_envs import CountingEnv

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
LSTM = {"use_lstm": True, "lstm_cell_size": 8}
ONCE = {"num_sgd_iter": 1, "sgd_minibatch_size": 1000}


def small(name: str, env: Any = COUNTING, **settings: Any) -> Any:
    model = {"fcnet_hiddens": [8], **settings.pop("model", {})}
    config = config_class(name)().environment(env).debugging(seed=1)
    config.rollouts(num_workers=0, num_envs_per_worker=3)
    return config.training(model=model, **settings)


def sample(algo: Any) -> Any:
    (found,) = algo.workers.foreach_worker(lambda worker: worker.sample(), local_worker=False)
    return found


def weights_of(algo: Any) -> np.ndarray:
    return np.concatenate([x.ravel() for x in algo.get_policy().get_weights().values()])


@pytest.mark.parametrize(
    ("name", "settings"),
    [("A2C", {}), ("A2C", {"model": LSTM}), ("PPO", ONCE), ("IMPALA", {})],
    ids=["A2C", "A2C with LSTM", "PPO", "IMPALA"],
)
def test_an_update_is_that_of_the_fragment_whose_rows_they_are(
    name: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    config = small(name, lr=0.01, **settings)
    module = importlib.import_module(f"actorrl.algorithms.{name.lower()}")
    with config.build(results=tmp_path, name="run") as algo:
        info, policy = checked(config), algo.get_policy()
        update = getattr(module, f"{name}Update")(config, info, 1, "cpu")
        update.policy.set_weights(policy.get_weights())
        vector = make_vector(CountingEnv, {"lengths": [4, -7, 2]}, 3)
        collector = Collector(vector, update.policy, 9)
        collector.collect()  # so that episodes and states are under way
        fragment = collector.collect()
        samples = SampleBatch.from_fragment(fragment)
        found = policy.learn_on_batch(samples)["learner_stats"]
        postprocess = module.make_postprocess(config, False, update.policy, 3)
        columns = type(fragment).from_message(*postprocess(fragment)).flat_columns()
        metrics = update({name: torch.from_numpy(x) for name, x in columns.items()}, 0)
        wanted = np.concatenate([x.ravel() for x in update.policy.get_weights().values()])
        np.testing.assert_allclose(weights_of(algo), wanted, atol=2e-5)
        assert found["policy_loss"] == pytest.approx(float(metrics["policy_loss"]), abs=1e-4)


def test_rows_of_a_replay_may_come_in_any_order(tmp_path: Path) -> None:
    from actorrl.algorithms.dqn import DQNUpdate

    config = small("DQN", lr=0.01, adam_epsilon=10.0)
    with config.build(results=tmp_path, name="run") as algo:
        update = DQNUpdate(config, checked(config), 1, "cpu")
        update.policy.set_weights(algo.get_policy().get_weights())
        before, random = weights_of(algo), np.random.default_rng(0)
        obs, after = random.normal(size=(2, 12, 3)).astype(np.float32)
        done = np.arange(12) % 4 == 0
        rows = {
            c.OBS: obs,
            c.ACTIONS: random.integers(0, 3, 12),
            c.REWARDS: random.normal(size=12).astype(np.float32),
            c.DONES: done,
            c.NEXT_OBS: after,
        }
        stats = algo.get_policy().learn_on_batch(SampleBatch(rows))["learner_stats"]
        batch = {name: x for name, x in rows.items() if name != c.DONES}
        batch[c.DISCOUNTS] = (0.99 * ~done).astype(np.float32)
        batch[c.WEIGHTS] = np.ones(12, np.float32)
        metrics = update({name: torch.from_numpy(x) for name, x in batch.items()}, 0)
        assert stats["loss"] == pytest.approx(float(metrics["loss"]), rel=1e-5)
        wanted = np.concatenate([x.ravel() for x in update.policy.get_weights().values()])
        np.testing.assert_allclose(weights_of(algo), wanted, atol=1e-6)
        small_steps = np.abs(wanted - before).max()
        assert 0 < small_steps < 0.002, "lr is 0.01, adam_epsilon far above the gradient's size"


@pytest.mark.parametrize("name", ["PPO", "APPO", "A3C", "PG", "DQN", "APEX", "SAC", "TD3"])
def test_every_algorithm_learns_from_what_its_workers_sample(name: str, tmp_path: Path) -> None:
    env = "Pendulum-v1" if name == "TD3" else COUNTING
    with small(name, env, rollout_fragment_length=20).build(results=tmp_path, name="run") as algo:
        if name == "TD3":
            random = np.random.default_rng(0)
            samples: Any = {n: random.normal(size=(8, 3)) for n in (c.OBS, c.NEXT_OBS)}
            samples |= {n: np.zeros(8) for n in (c.REWARDS, c.TERMINATEDS)}
            samples = {n: x.astype(np.float32) for n, x in samples.items()}
            samples[c.ACTIONS] = np.full((8, 1), 0.5)
        else:
            samples = sample(algo)
        before, counted = weights_of(algo), algo.pause()["num_updates"]
        stats = algo.get_policy().learn_on_batch(samples)["learner_stats"]
        after = weights_of(algo)
        assert stats and all(math.isfinite(x) for x in stats.values())
        assert np.abs(after - before).max() > 0
        report = algo.pause()
        assert (report["num_updates"], report["timesteps_total"]) == (counted + 1, 0)
        at_workers = algo.workers.foreach_worker(lambda w: w.get_policy().get_weights())[-1]
        theirs = np.concatenate([x.ravel() for x in at_workers.values()])
        np.testing.assert_array_equal(theirs, after)


def test_one_of_several_policies_learns_alone(tmp_path: Path) -> None:
    config = small("PPO", make_multi_agent(COUNTING)).environment(env_config={"num_agents": 2})
    config.multi_agent(policies=["a", "b"], policy_mapping_fn=lambda agent, **_: "ab"[int(agent)])
    with config.rollouts(rollout_fragment_length=20).build(results=tmp_path, name="run") as algo:
        (batches,) = algo.workers.foreach_worker(
            lambda worker: worker.sample().policy_batches, local_worker=False
        )
        before = algo.get_weights()
        stats = algo.get_policy("a").learn_on_batch(batches["a"])["learner_stats"]
        assert "policy_loss" in stats
        after = algo.get_weights()
        moved = {
            name: any((before[name][key] != after[name][key]).any() for key in before[name])
            for name in before
        }
        assert moved == {"a": True, "b": False}


def test_what_cannot_be_learned_from_is_said_in_a_sentence(tmp_path: Path) -> None:
    with small("PG").build(results=tmp_path, name="pg") as algo:
        rows = {c.OBS: np.zeros((2, 3), np.float32), c.ACTIONS: np.zeros(2, np.int64)}
        with pytest.raises(ConfigError, match="samples have no column 'rewards', expected obs, ac"):
            algo.get_policy().learn_on_batch(rows)
        rows |= {c.REWARDS: np.ones(2), c.DONES: np.zeros(2, bool), c.NEXT_OBS: rows[c.OBS]}
        with pytest.raises(ConfigError, match=r"nothing to learn from .* and of whole episodes"):
            algo.get_policy().learn_on_batch(rows)
    with small("ES").build(results=tmp_path, name="es") as algo:
        policy = algo.get_policy()
        with pytest.raises(ConfigError, match="learns from returns of whole populations"):
            policy.learn_on_batch(rows)
    with small("A2C").build(results=tmp_path, name="a2c") as algo:
        rows[c.REWARDS] = np.full(2, np.nan)
        with pytest.raises(RunFailed, match="loss is nan"):
            algo.get_policy().learn_on_batch(rows)
