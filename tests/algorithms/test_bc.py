"""Behaviour cloning: learns what was recorded, refuses what does not fit."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from actorrl.algorithms.a2c import A2C, A2CConfig
from actorrl.algorithms.bc import BC, BCConfig, BCUpdate
from actorrl.algorithms.playing import evaluate_checkpoint
from actorrl.data import columns as c
from actorrl.data.sample_batch import SampleBatch
from actorrl.envs.check import check_env
from actorrl.errors import ConfigError
from actorrl.experiment.run_folder import RunFolder
from actorrl.offline import dataset
from actorrl.offline.dataset import DatasetError


class Answering(gym.Env):
    """CartPole's observations, and so many answers."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.observation_space = gym.spaces.Box(-1.0, 1.0, (4,))
        self.action_space = gym.spaces.Discrete(config["actions"])

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return np.zeros(4, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.zeros(4, np.float32), 0.0, False, False, {}


def record(folder: Path, rows: int = 2000) -> None:
    """An expert of one sentence: push the cart to where the pole falls."""
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(rows, 4)).astype(np.float32)
    batch = SampleBatch({c.OBS: obs, c.ACTIONS: (obs[:, 2] > 0).astype(np.int64)})
    folder.mkdir()
    dataset.write_schema(folder, dataset.columns_of(batch), {})
    dataset.write_shard(folder, "0000-0", 0, batch)


def test_the_loss_is_the_mean_negative_log_likelihood(tmp_path: Path) -> None:
    record(tmp_path / "data")
    config = BCConfig(env="CartPole-v1", input_=str(tmp_path / "data"))
    update = BCUpdate(config, check_env("CartPole-v1", {}), 1, "cpu")
    rows = config.reader(0).next()
    logits, _ = update.policy.model(torch.from_numpy(rows[c.OBS]))
    wide = logits.detach().double().numpy()
    logp = wide - np.log(np.exp(wide).sum(1, keepdims=True))
    expected = -logp[np.arange(len(wide)), rows[c.ACTIONS]].mean()
    batch = {name: torch.from_numpy(column) for name, column in rows.items()}
    assert float(update(batch, 0)["bc_loss"]) == pytest.approx(expected, abs=1e-5)


def test_it_learns_the_recorded_rule_and_is_the_same_twice(tmp_path: Path) -> None:
    record(tmp_path / "data")
    losses = []
    for name in ("one", "two"):
        config = BCConfig(env="CartPole-v1", input_=str(tmp_path / "data"), seed=3)
        config.evaluation_interval = None
        with config.build(name=name, results=tmp_path) as algo:
            rows = [algo.train() for _ in range(2)]
            assert algo.compute_single_action(np.array([0, 0, 0.5, 0], np.float32)) == 1
            assert algo.compute_single_action(np.array([0, 0, -0.5, 0], np.float32)) == 0
        assert rows[-1]["num_updates"] == 200
        losses.append(rows[-1]["info"]["learner"]["bc_loss"])
    assert losses[0] == losses[1] < 0.3


def test_a_run_goes_on_with_the_rows_that_come_next(tmp_path: Path) -> None:
    record(tmp_path / "data", rows=40_000)  # an epoch is more than the iteration before
    config = BCConfig(env="CartPole-v1", input_=str(tmp_path / "data"), seed=3)
    config.evaluation_interval = None
    with config.build(name="run", results=tmp_path) as algo:
        algo.train()
        path = algo.save()
        row = algo.train()
    with BC.from_checkpoint(path, name="again", results=tmp_path) as algo:
        again = algo.train()
    assert again["info"]["learner"]["bc_loss"] == pytest.approx(row["info"]["learner"]["bc_loss"])


def test_a_run_can_be_repeated_from_what_its_folder_says(tmp_path: Path) -> None:
    record(tmp_path / "data")
    for num_workers in (None, 0):
        config = BCConfig(env="CartPole-v1", input_=str(tmp_path / "data"))
        config.rollouts(num_workers=num_workers)
        with config.build(name=f"run-{num_workers}", results=tmp_path, start=False) as algo:
            params = RunFolder.open(algo.run_folder).read_params()["config"]
        again = BCConfig().from_dict(params)
        assert again.validate() == [] and again.num_workers == num_workers


def test_workers_that_are_not_there_take_no_cores_from_its_learner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    for num_workers in (None, 0):
        config = BCConfig(env="CartPole-v1").rollouts(num_workers=num_workers)
        assert config.learner_threads() == 7


def test_what_was_cloned_plays_where_the_recording_is_not(tmp_path: Path) -> None:
    record(tmp_path / "data")
    config = BCConfig(env="CartPole-v1", input_=str(tmp_path / "data"), seed=3)
    with config.build(name="run", results=tmp_path) as algo:
        path, played = algo.save(), algo.evaluate(episodes=2)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    found = evaluate_checkpoint(path, episodes=2)
    assert found["episode_reward_mean"] == played["episode_reward_mean"]
    with pytest.raises(ConfigError, match=r"input: .*data"):
        BC.from_checkpoint(path, name="again", results=tmp_path)


def test_workers_record_what_they_live_through_and_bc_reads_it(tmp_path: Path) -> None:
    output = tmp_path / "data"
    config = A2CConfig(env="CartPole-v1", num_workers=0, output=str(output), seed=1)
    with config.build(name="a2c", results=tmp_path) as algo:
        steps = algo.train()["timesteps_total"]
    names = [c.OBS, c.NEXT_OBS, c.ACTIONS, c.REWARDS, c.TERMINATEDS, c.EPS_ID, c.ACTION_LOGP]
    known = dataset.read_schema(output).columns
    wanted = {name: known[name] for name in names}
    shards = [dataset.read_shard(shard, wanted) for shard in dataset.shards(output)]
    recorded = sum(shard.count for shard in shards)
    assert recorded >= steps
    rows = shards[0]
    same = rows[c.EPS_ID][1:] == rows[c.EPS_ID][:-1]
    consecutive = (rows[c.NEXT_OBS][:-1] == rows[c.OBS][1:]).all(1)
    within = same & ~rows[c.TERMINATEDS][:-1]
    assert consecutive[within].mean() > 0.9, "but where one fragment's rows meet the next's"
    assert BCConfig(env="CartPole-v1", input_=str(output)).validate() == []
    for actions, recorded in ((2, True), (3, False)):
        info = check_env(Answering, {"actions": actions})
        with (
            contextlib.nullcontext()
            if recorded
            else pytest.raises(
                ConfigError, match=r"actions <i8 \[\] of Discrete\(2\) were recorded.*Discrete\(3\)"
            )
        ):
            BCConfig(env=Answering, input_=str(output)).check_fits(info)


def test_a_file_says_input_as_rllibs_do(tmp_path: Path) -> None:
    config = BCConfig(env="CartPole-v1")
    config.update_from_dict({"input": str(tmp_path)})
    assert config.input_ == str(tmp_path)


def test_a_dataset_of_another_environment_is_refused_before_anything_starts(tmp_path: Path) -> None:
    record(tmp_path / "data")
    config = BCConfig(env="Acrobot-v1", input_=str(tmp_path / "data"))
    with pytest.raises(ConfigError, match=r"shape \[4\] were recorded, Acrobot-v1 has \[6\]"):
        config.build(name="run", results=tmp_path)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match=r"input: missing"):
        BCConfig(env="CartPole-v1").build(name="run", results=tmp_path)


@pytest.mark.parametrize(
    ("output", "why"),
    [("logdir", "RLlib's word for the run's folder"), (__file__, "not a folder that you may wr")],
)
def test_where_nothing_can_be_recorded_is_refused_before_anything_starts(
    tmp_path: Path, output: str, why: str
) -> None:
    config = A2CConfig(env="CartPole-v1", num_workers=0, output=output)
    with pytest.raises(ConfigError, match=f"^output: .*{why}"):
        config.build(name="run", results=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_shard_ends_the_run_with_one_sentence(tmp_path: Path) -> None:
    record(tmp_path / "data")
    dataset.shards(tmp_path / "data")[0].write_bytes(b"half")
    config = BCConfig(env="CartPole-v1", input_=str(tmp_path / "data"))
    with (
        config.build(name="run", results=tmp_path) as algo,
        pytest.raises(DatasetError, match=r"shard.* is cut short.* remove it to go on without"),
    ):
        algo.train()


def losing_its_folder(tmp_path: Path, num_workers: int) -> A2C:
    """Stopped, it has rows to write and nowhere to write them."""
    config = A2CConfig(env="CartPole-v1", num_workers=num_workers, output=str(tmp_path / "data"))
    config.update_from_dict({"num_envs_per_worker": 1, "train_batch_size": 20})
    algo = config.build(name="run", results=tmp_path)
    algo.train()
    (tmp_path / "data").rename(tmp_path / "gone")
    return algo


def test_rows_that_a_worker_cannot_write_at_its_end_are_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    losing_its_folder(tmp_path, num_workers=1).stop()
    assert "rollout/0 failed at its end: DatasetError" in caplog.text
    assert "data/schema.json: cannot be written: No such file or directory" in caplog.text


def test_such_rows_in_one_process_raise_behind_the_last_status(tmp_path: Path) -> None:
    algo = losing_its_folder(tmp_path, num_workers=0)
    with pytest.raises(DatasetError, match="cannot be written"):
        algo.stop()
    status = RunFolder.open(tmp_path / "run").read_status()
    assert status is not None and status.state == "stopped" and status.driver_pid is None
