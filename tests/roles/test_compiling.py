"""Networks through torch's compiler: the same update, to rounding."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch

from actorrl.algorithms.apex_dqn import make_update as make_apex
from actorrl.algorithms.registry import config_class
from actorrl.data import columns as c
from actorrl.roles.compiling import compiling
from tests.roles import worlds

N = 32


def batch() -> dict[str, torch.Tensor]:
    random = np.random.default_rng(0)
    return {
        c.OBS: torch.from_numpy(random.normal(size=(N, 4))).float(),
        c.NEXT_OBS: torch.from_numpy(random.normal(size=(N, 4))).float(),
        c.ACTIONS: torch.from_numpy(random.integers(2, size=N)),
        c.REWARDS: torch.ones(N),
        c.DISCOUNTS: torch.full((N,), 0.97),
        c.WEIGHTS: torch.ones(N),
    }


def make_update(**settings: Any) -> Any:
    config, info = worlds.configured("APEX", "CartPole-v1", **settings)
    return functools.partial(make_apex, config, info, 0)


def test_without_a_mode_nothing_is_changed() -> None:
    make = make_update()
    assert compiling(make, "") is make


@pytest.mark.slow
@pytest.mark.timeout(600)  # seconds of it are the compiler's, many where others use the machine
def test_a_compiled_update_is_the_plain_one_to_rounding() -> None:
    torch.set_num_threads(1)
    plain, compiled = make_update()("cpu"), compiling(make_update(), "default")("cpu")
    np.testing.assert_array_equal(plain.policy.flat_weights(), compiled.policy.flat_weights())
    for _ in range(3):
        expected, found = plain(batch(), 0), compiled(batch(), 0)
        assert float(found["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0, "nothing was compiled"
    np.testing.assert_allclose(
        compiled.policy.flat_weights(), plain.policy.flat_weights(), atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_with_compiled_networks_learns_cartpole(tmp_path: Any) -> None:
    config = config_class("PPO")().environment("CartPole-v1").debugging(seed=1)
    config.rollouts(num_workers=0).training(torch_compile_learner=True)
    with config.build(results=tmp_path, name="run") as algo:
        assert any(algo.train()["episode_reward_mean"] >= 150 for _ in range(40))


def test_graphs_without_a_gpu_are_refused_and_said_so() -> None:
    config = config_class("APEX")().training(cuda_graphs=True)
    assert any("cuda_graphs: the learner has no GPU" in line for line in config.validate())
    assert not config_class("APEX")().training(cuda_graphs=True, num_gpus=1).validate()


@pytest.mark.parametrize("name", ["A3C", "ES"])
def test_where_the_learner_differentiates_nothing_compiling_is_refused(name: str) -> None:
    config = config_class(name)().training(torch_compile_learner=True)
    assert any("passes nothing through its network" in line for line in config.validate())


def test_a_machine_without_a_compiler_is_said_before_anything_starts(monkeypatch: Any) -> None:
    config = config_class("PPO")().training(torch_compile_learner=True)
    assert not config.validate()
    monkeypatch.setenv("PATH", "/nowhere")
    assert any("needs a C++ compiler" in line for line in config.validate())
