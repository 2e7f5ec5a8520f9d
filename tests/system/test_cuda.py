"""Learners on a GPU: batches from pinned memory, the same numbers as on the CPU, and a restart.

Skipped where torch finds no CUDA device, as on CI's machines.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.data import columns as c
from actorrl.roles.batch import FragmentBatch
from tests.roles import worlds

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
    pytest.mark.timeout(300),
]
ALGORITHMS = ["A2C", "A3C", "IMPALA", "APEX", "PPO", "SAC"]
LOSSES = {"APEX": "loss", "SAC": "critic_loss"}


def config_of(name: str, **settings: Any) -> Any:
    config = config_class(name)().environment("CartPole-v1").debugging(seed=0)
    config.rollouts(num_workers=1, num_envs_per_worker=4).resources(num_gpus=1)
    if name in ("APEX", "SAC"):
        config.training(learning_starts=100)
    return config.training(min_time_s_per_iteration=0.2, **settings)


def make_update(name: str, device: str, **settings: Any) -> Any:
    """The algorithm's own update, as its Program would make it on that device."""
    from actorrl.algorithms.base import Setup

    config = config_of(name, **settings)
    program = config.algorithm.program(config, Setup(checked(config), 0, lambda: None))
    return program.nodes["learner/0"].args[0].make_update(device)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_run_learns_on_the_gpu(name: str, tmp_path: Path) -> None:
    with config_of(name).build(results=tmp_path, name="run") as algo:
        rows = [algo.train() for _ in range(4)]
        assert algo.evaluate(episodes=4)["episodes"] == 4
        (learner,) = [row for row in algo.status() if row["name"] == "learner/0"]
        with open(f"/proc/{learner['pid']}/maps") as maps:
            assert "nvidia" in maps.read(), "the learner's process uses the device"
        assert algo.stop() == []
    assert rows[-1]["num_updates"] > rows[0]["num_updates"]
    assert np.isfinite(rows[-1]["info"]["learner"][LOSSES.get(name, "total_loss")])


def test_batches_are_gathered_in_pinned_memory_and_arrive_as_they_were() -> None:
    batch = FragmentBatch("cuda")
    fragments = [worlds.fragment(1, worker) for worker in range(3)]
    for _ in range(2):
        for fragment in fragments:
            batch.add(fragment.columns, fragment.num_env_steps)
        assert all(buffer.is_pinned() for buffer in batch._buffers.values())
        tensors = batch.tensors()
        assert all(tensor.is_cuda for tensor in tensors.values())
        obs = np.concatenate([f.columns[c.OBS] for f in fragments], axis=1)
        np.testing.assert_array_equal(tensors[c.OBS].cpu().numpy(), obs)
        torch.cuda.synchronize()
        batch.clear()


@pytest.mark.parametrize("name", ["A2C", "IMPALA"])
def test_an_update_on_the_gpu_is_the_one_on_the_cpu(name: str) -> None:
    """The same first batch and weights, to float32's precision."""
    collected = FragmentBatch("cpu")
    rng = np.random.default_rng(0)
    for worker in range(2):
        fragment = worlds.fragment(1, worker, rows=8, envs=4)
        columns = fragment.columns
        columns[c.OBS] = rng.normal(size=(9, 4, 4)).astype(np.float32)
        columns[c.ACTIONS] = rng.integers(0, 2, (8, 4))
        columns[c.ACTION_LOGP] = np.full((8, 4), -np.log(2), np.float32)
        collected.add(columns, 32)
    cpu, gpu = make_update(name, "cpu"), make_update(name, "cuda")
    np.testing.assert_array_equal(cpu.policy.flat_weights(), gpu.policy.flat_weights())
    for _ in range(3):
        batch = collected.tensors()
        on_cpu = cpu(batch, 0)
        on_gpu = gpu({n: x.to("cuda") for n, x in batch.items()}, 0)
        assert float(on_gpu["total_loss"]) == pytest.approx(float(on_cpu["total_loss"]), rel=1e-3)
    np.testing.assert_allclose(cpu.policy.flat_weights(), gpu.policy.flat_weights(), atol=1e-3)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_state_taken_on_the_gpu_is_loaded_on_the_cpu_and_back(name: str, tmp_path: Path) -> None:
    config = config_of(name)
    with config.build(results=tmp_path, name="gpu") as algo:
        algo.train()
        path = algo.save()
        weights = algo.get_policy().get_weights()
        num_updates = algo.pause()["num_updates"]
    cpu = config_of(name, num_gpus=0)
    with cpu.build(results=tmp_path, name="cpu") as algo:
        algo.restore(path)
        for key, value in algo.get_policy().get_weights().items():
            np.testing.assert_array_equal(value, weights[key])
        assert algo.train()["num_updates"] > num_updates
        path = algo.save()
    with config.build(results=tmp_path, name="again") as algo:
        algo.restore(path)
        assert algo.train()["num_updates"] > num_updates + 1


@pytest.mark.parametrize("name", ["IMPALA", "APEX"])
def test_a_killed_learner_comes_back_on_the_gpu_from_its_checkpoint(
    name: str, tmp_path: Path
) -> None:
    with config_of(name).build(results=tmp_path, name="run") as algo:
        while algo.train()["num_updates"] < 20:
            pass
        algo.save()
        num_updates = algo.pause()["num_updates"]
        (pid,) = [row["pid"] for row in algo.status() if row["name"] == "learner/0"]
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 120
        row = algo.train()
        while row["num_updates"] <= num_updates:
            assert time.monotonic() < deadline
            row = algo.train()
        assert row["num_restarts"] == 1
        (again,) = [r["pid"] for r in algo.status() if r["name"] == "learner/0"]
        assert again not in (None, pid)
        assert algo.stop() == []


def test_the_network_may_run_in_bfloat16(tmp_path: Path) -> None:
    with config_of("IMPALA", precision="bf16").build(results=tmp_path, name="run") as algo:
        row = algo.train()
        assert row["num_updates"] > 0 and np.isfinite(row["info"]["learner"]["total_loss"])
