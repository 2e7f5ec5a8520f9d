"""What a checkpoint keeps of a learner, and a learner that comes back after it died."""

from __future__ import annotations

import functools
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.base import Setup
from actorrl.algorithms.registry import config_class
from actorrl.roles.divergence import LearningDiverged
from actorrl.runtime.cluster import Cluster
from tests.roles import worlds

ENV = "CartPole-v1"
ALGORITHMS = ["A2C", "A3C", "IMPALA", "APEX", "DQN"]


def program_of(name: str, seed: int) -> Any:
    config, info = worlds.configured(name, ENV, num_workers=2, num_envs_per_worker=2)
    if name in ("APEX", "DQN"):
        config.training(learning_starts=50, target_network_update_freq=1000)
    return config_class(name).algorithm.program(config, Setup(info, seed, lambda: None))


def assert_same(one: Any, other: Any, path: str = "state") -> None:
    """Bit by bit, whatever is nested."""
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes(), path
    else:
        assert one == other, path


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_learners_state_comes_back_bit_by_bit_in_another_learner(name: str) -> None:
    with worlds.running(program_of(name, seed=0)) as cluster:
        worlds.train(cluster, min_updates=10, min_env_steps=1)
        state = cluster.ref("learner/0").get_state.call().result()
        weights = worlds.actor(cluster).update.policy.flat_weights()
    assert state["num_updates"] >= 10 and state["timesteps_total"] > 0
    assert "exp_avg" in state["update"]["optimizer"], "the optimizer's moments"
    if name in ("APEX", "DQN"):
        assert not np.array_equal(state["update"]["target"], weights), "the first weights still"
    with worlds.running(program_of(name, seed=1)) as cluster:
        learner = cluster.ref("learner/0")
        before = worlds.actor(cluster).weights.version
        learner.set_state.call(state).result()
        again = learner.get_state.call().result()
        assert again["epoch"] > state["epoch"]
        assert_same({**again, "epoch": state["epoch"]}, state)
        assert cluster.block_reader("weights").epoch == again["epoch"], "readers see it"
        assert worlds.actor(cluster).weights.version > before, "workers get them as a new version"
        _, published = cluster.block_reader("weights").read()
        np.testing.assert_array_equal(published["flat"], state["weights"])
        report = worlds.train(cluster, min_updates=1, min_env_steps=1)
        assert report["num_updates"] > state["num_updates"]
        assert report["timesteps_total"] > state["timesteps_total"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_restored_learner_learns_on_exactly_as_the_one_it_was_taken_from(name: str) -> None:
    """The same batches afterwards give the same weights, and for Ape-X the same target network."""
    program = program_of(name, seed=0)
    node = program.nodes["learner/0"]
    make = node.args[0].make_update
    settings = worlds.learner(worlds.recording(make, learns=True), node.args[0].train_batch_size)
    node.args = (settings, *node.args[1:])
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=5)
        update = worlds.actor(cluster).update
        state, weights = update.state_dict(), update.policy.flat_weights()
        gradient = update.policy.flat_gradient()
        batches = update.batches
    restored = program_of(name, seed=5).nodes["learner/0"].args[0].make_update("cpu")
    restored.load_state_dict(state)
    restored.policy.flat.load(weights)
    for batch in batches:
        for one in (update.inner, restored):
            if name == "A3C":  # its batches are empty: gradients come from workers
                one.policy.set_flat_gradient(gradient)
            one(batch, 0)
    np.testing.assert_array_equal(update.policy.flat_weights(), restored.policy.flat_weights())
    assert_same(update.state_dict(), restored.state_dict())


def test_weights_by_name_reach_the_workers_before_their_next_fragment() -> None:
    with worlds.running(program_of("IMPALA", seed=0)) as cluster:
        worlds.train(cluster, min_updates=2)
        policy = worlds.actor(cluster).update.policy
        wanted = {name: np.full_like(x, 0.25) for name, x in policy.get_weights().items()}
        version = cluster.ref("learner/0").set_weights.call(wanted).result()
        worker = worlds.actor(cluster, "rollout/0")
        worlds.train(cluster, min_updates=1)
        worlds.poll_until(cluster, lambda: worker._sampling.policy.version >= version)
        assert version > 2


def test_weights_by_name_reach_the_target_network_too() -> None:
    with worlds.running(program_of("APEX", seed=0)) as cluster:
        worlds.train(cluster, min_updates=2)
        learner = cluster.ref("learner/0")
        policy = worlds.actor(cluster).update.policy
        wanted = {name: np.full_like(x, 0.25) for name, x in policy.get_weights().items()}
        learner.set_weights.call(wanted).result()
        target = learner.get_state.call().result()["update"]["target"]
    np.testing.assert_array_equal(target, np.full_like(target, 0.25))


def test_a_worker_takes_weights_of_a_new_epoch_though_their_version_is_lower() -> None:
    """As of a learner that came back on another host, which had not read its predecessor's last."""
    with worlds.running(program_of("A2C", seed=0)) as cluster:
        worlds.train(cluster, min_updates=2)
        sampling = worlds.actor(cluster, "rollout/0")._sampling
        newest = cluster.block_reader("weights")
        assert sampling.refresh() == (newest.epoch, newest.version)
        version, arrays = newest.read()
        arrays["flat"] = arrays["flat"] + 1
        cluster._world.blocks["weights"].publish(version - 1, arrays, newest.epoch + 1)
        assert sampling.refresh() == (newest.epoch, version - 1)
        np.testing.assert_array_equal(sampling.policy.flat_weights(), arrays["flat"])


class Nan:
    """An update whose loss is no number from the third time on."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.policy, self.count = inner, inner.policy, 0

    def __call__(self, batch: Any, timesteps: int) -> Any:
        self.count += 1
        metrics = self.inner(batch, timesteps)
        return {**metrics, "total_loss": torch.tensor(float("nan"))} if self.count > 2 else metrics


def _nan(make: Any, device: str) -> Nan:
    return Nan(make(device))


def test_a_loss_that_is_no_number_ends_the_learner_before_it_is_published() -> None:
    program = program_of("IMPALA", seed=0)
    node = program.nodes["learner/0"]
    make = functools.partial(_nan, node.args[0].make_update)
    node.args = (worlds.learner(make, 64), *node.args[1:])
    with worlds.running(program) as cluster:
        with pytest.raises(LearningDiverged, match="total_loss is nan at update 3: lower lr") as e:
            worlds.train(cluster, min_updates=5)
        obs = r"  obs \[\d+, \d+, 4\]: -?[\d.]+ to [\d.]+, mean -?[\d.e-]+$"
        assert re.search(obs, str(e.value), re.MULTILINE)
        assert worlds.actor(cluster).tally.num_updates == 2


def test_a_learner_that_died_goes_on_from_its_last_checkpoint_under_newer_versions(
    tmp_path: Path,
) -> None:
    """With processes: whoever reads the weights never sees a version go back."""
    config, _ = worlds.configured("A2C", ENV, num_workers=1, num_envs_per_worker=2)
    algo = config.build(results=tmp_path, name="run")
    try:
        for _ in range(5):
            algo.train()
        algo.save()
        at_checkpoint = algo.train()["num_updates"] - 1
        version = algo._run.cluster.block_reader("weights").version
        kill(algo._run.cluster, "learner/0")
        row = algo.train()
        assert at_checkpoint < row["num_updates"] <= at_checkpoint + 3
        assert row["num_restarts"] == 1
        assert algo._run.cluster.block_reader("weights").version > version
    finally:
        assert algo.stop() == []


def test_a_learner_of_another_host_says_from_which_checkpoint_the_driver_restored_it() -> None:
    with worlds.running(program_of("A2C", seed=0)) as cluster:
        worlds.train(cluster, min_updates=3)
        state = cluster.ref("learner/0").get_state.call().result()
    events: list[dict[str, Any]] = []
    program = program_of("A2C", seed=1)
    cluster = Cluster(program, launcher="inproc", on_event=events.append)
    cluster.start()
    try:
        for path in ("recovery/recovery_000007", "another"):  # it is restored once
            cluster.ref("learner/0").recover.call(state, path, ["a damaged one"], 2).result()
        actor = worlds.actor(cluster)
        assert actor.tally.num_updates == state["num_updates"]
        np.testing.assert_array_equal(actor.update.policy.flat_weights(), state["weights"])
        (event,) = [event for event in events if event["event"] == "learner_recovered"]
        assert event["checkpoint"] == "recovery/recovery_000007"
        assert event["damaged"] == ["a damaged one"]
    finally:
        cluster.stop()


def kill(cluster: Cluster, name: str) -> None:
    (pid,) = [row["pid"] for row in cluster.status() if row["name"] == name]
    os.kill(pid, signal.SIGKILL)
    while any(row["name"] == name and row["pid"] == pid for row in cluster.status()):
        cluster.poll(0.05)


def test_a_learner_that_recovers_takes_the_epoch_that_nobody_had_before() -> None:
    with worlds.running(program_of("A2C", seed=0)) as cluster:
        learner = cluster.ref("learner/0")
        learner.recover.call(None, None, [], 9).result()
        assert learner.get_state.call().result()["epoch"] == 9
