"""`learn_on_batch` of a run's own policy: what the learner would have made of the same rows."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms import teaching
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.algorithms.taught_rows import taught_rows
from actorrl.data import columns as c
from actorrl.data.sample_batch import MultiAgentBatch, SampleBatch
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
    from actorrl.algorithms.dqn import make_update

    config = small("DQN", lr=0.01, adam_epsilon=10.0)
    with config.build(results=tmp_path, name="run") as algo:
        update = make_update(config, checked(config), 1, "cpu")
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
        stats = algo.learn_on_batch(samples)["default_policy"]["learner_stats"]
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


def test_a_policy_that_plays_learns_from_no_samples(tmp_path: Path) -> None:
    config = small("DQN", make_multi_agent(COUNTING)).environment(env_config={"num_agents": 2})
    config.multi_agent(policies=["a", "b"], policy_mapping_fn=lambda agent, **_: "ab"[int(agent)])
    with config.multi_agent(policies_to_train=["a"]).build(results=tmp_path, name="run") as algo:
        with pytest.raises(ConfigError, match=r"policy 'b' plays .* policies_to_train are a"):
            algo.get_policy("b").learn_on_batch(good_rows())
        assert algo.pause()["num_updates"] == 0
        algo.get_policy("a").learn_on_batch(good_rows())
        assert algo.pause()["num_updates"] == 1


def test_a_batch_of_several_policies_is_learned_from_by_those_that_learn(tmp_path: Path) -> None:
    config = small("PPO", make_multi_agent(COUNTING)).environment(env_config={"num_agents": 3})
    config.multi_agent(policies=["a", "b", "c"], policies_to_train=["a", "b"])
    config.multi_agent(policy_mapping_fn=lambda agent, **_: "abc"[int(agent)])
    with config.rollouts(rollout_fragment_length=20).build(results=tmp_path, name="run") as algo:
        worker = algo.workers.local_worker()
        samples = worker.sample()
        assert isinstance(samples, MultiAgentBatch) and set(samples.policy_batches) == set("abc")
        before, counted = algo.get_weights(), algo.pause()["num_updates"]
        found = worker.learn_on_batch(samples)
        assert set(found) == {"a", "b"}
        assert all("policy_loss" in each["learner_stats"] for each in found.values())
        assert algo.pause()["num_updates"] == counted + 2, "one update of each"
        after = algo.get_weights()
        for name, moves in {"a": True, "b": True, "c": False}.items():
            moved = any((before[name][key] != after[name][key]).any() for key in before[name])
            assert moved is moves
        with pytest.raises(KeyError, match="no policy 'default_policy'"):
            algo.learn_on_batch(samples.policy_batches["a"])
        with pytest.raises(Exception, match="workers do not learn"):
            algo.workers.foreach_worker(lambda w: w.learn_on_batch({}), local_worker=False)


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
        rows[c.REWARDS] = np.full(2, 1e30)
        with pytest.raises(RunFailed, match=r"loss is (nan|inf)"):
            algo.get_policy().learn_on_batch(rows)


def good_rows(count: int = 6) -> dict[str, Any]:
    """Of one episode, for the environments that count."""
    obs = np.random.default_rng(0).normal(size=(count + 1, 3)).astype(np.float32)
    rows: dict[str, Any] = {c.OBS: obs[:-1], c.NEXT_OBS: obs[1:], c.ACTIONS: np.arange(count) % 3}
    ended = np.arange(count) == count - 1
    return {**rows, c.REWARDS: np.ones(count, np.float32), c.TERMINATEDS: ended}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "width": ({c.OBS: np.zeros((6, 4))}, r"'obs' has shape \(6, 4\), expected \(6, 3\)"),
    "width after": ({c.NEXT_OBS: np.zeros((6, 4))}, r"'new_obs' has shape \(6, 4\)"),
    "one axis": ({c.OBS: np.zeros(6)}, r"'obs' has shape \(6,\)"),
    "text": ({c.OBS: np.full((6, 3), "a")}, "'obs' holds <U1, expected numbers"),
    "objects": ({c.OBS: np.full((6, 3), None)}, "'obs' holds object, expected numbers"),
    "nan": ({c.OBS: np.eye(6, 3) * np.nan}, "'obs' has nan in row 0, expected finite"),
    "nan reward": ({c.REWARDS: [0, 1, np.nan, 3, 4, 5]}, "'rewards' has nan in row 2"),
    "no float32": ({c.REWARDS: np.full(6, 1e300)}, r"'rewards' has 1e\+300 in row 0"),
    "reward's axes": ({c.REWARDS: np.ones((6, 1))}, r"'rewards' has shape \(6, 1\)"),
    "fewer rewards": ({c.REWARDS: np.ones(4)}, r"'rewards' has shape \(4,\), expected 6 rows"),
    "no such action": ({c.ACTIONS: np.full(6, 7)}, "has 7 in row 0, expected whole .* from 0 to 2"),
    "below 0": ({c.ACTIONS: np.full(6, -1)}, "'actions' has -1 in row 0"),
    "part of one": ({c.ACTIONS: np.full(6, 0.5)}, r"'actions' has 0\.5 in row 0"),
    "two actions": ({c.ACTIONS: np.zeros((6, 2))}, r"'actions' has shape \(6, 2\)"),
    "flag's axes": ({c.TERMINATEDS: np.zeros((6, 1))}, r"'terminateds' has shape \(6, 1\)"),
    "text for a number": ({c.ACTION_LOGP: np.full(6, "x")}, "'action_logp' holds <U1"),
    "value's axes": ({c.VF_PREDS: np.zeros((6, 2))}, r"'vf_preds' has shape \(6, 2\)"),
    "lengths": ({c.SEQ_LENS: np.array([2, 2])}, "seq_lens add up to 4, not to 6 rows"),
    "no rows": ({n: x[:0] for n, x in good_rows().items()}, "nothing to learn from"),
}


@pytest.mark.parametrize("name", ["A2C", "DQN"])
def test_wrong_samples_are_refused_and_change_nothing(name: str, tmp_path: Path) -> None:
    """One NaN would make all weights NaN, and so all that is learned after it."""
    with small(name).build(results=tmp_path, name="run") as algo:
        before, policy = weights_of(algo), algo.get_policy()
        for case, (columns, sentence) in WRONG.items():
            with pytest.raises(ConfigError, match=f"^learn_on_batch: .*{sentence}"):
                pytest.fail(f"{case}: {policy.learn_on_batch({**good_rows(), **columns})}")
        with pytest.raises(ConfigError, match="list is no batch, expected a SampleBatch"):
            policy.learn_on_batch([good_rows()])
        assert algo.pause()["num_updates"] == 0
        np.testing.assert_array_equal(weights_of(algo), before)
        as_lists = {key: column.tolist() for key, column in good_rows().items()}
        policy.learn_on_batch({**as_lists, "infos": [{}] * 6})
        assert np.isfinite(weights_of(algo)).all() and (weights_of(algo) != before).any()


def test_a_state_that_is_given_begins_its_piece_unless_an_episode_does(tmp_path: Path) -> None:
    """`t` says whether; without it the state counts, also that of the first sequence."""
    config = small("A2C", model=LSTM)
    with config.build(results=tmp_path, name="run") as algo:
        policy, start = algo.newest_policy(), algo.get_policy().get_weights()
        states = {f"state_in_{i}": np.full((1, 8), 3.0) for i in range(2)}
        rows = {**good_rows(), **states, c.SEQ_LENS: np.array([6])}
        found = {}
        for case, more in {
            "": {},
            "later": {c.T: np.arange(6) + 4},
            "0": {c.T: np.arange(6)},
        }.items():
            columns = teaching.lanes_of(policy, taught_rows(policy, {**rows, **more}))
            found[case] = columns[c.VF_PREDS]
        np.testing.assert_array_equal(found[""], found["later"])
        assert np.abs(found[""] - found["0"]).max() > 1e-3
        with pytest.raises(
            ConfigError, match=r"'state_in_1' has shape \(1, 9\), expected \(1, 8\)"
        ):
            algo.get_policy().learn_on_batch({**rows, "state_in_1": np.zeros((1, 9))})
        assert all((start[n] == x).all() for n, x in algo.get_policy().get_weights().items())
