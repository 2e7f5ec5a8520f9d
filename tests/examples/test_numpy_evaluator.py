"""An evaluator of another library, without torch, under every topology that moves gradients."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import numpy as np
import pytest

from actorrl.examples import numpy_evaluator
from actorrl.examples.numpy_evaluator import CELLS, GAMMA, RIGHT, QLearner, train
from actorrl.topologies import optimizers
from actorrl.topologies.optimizers import AsyncOptimizer, LocalMultiGPUOptimizer, LocalSyncOptimizer

NAMES = [
    "AsyncOptimizer",
    "LocalSyncOptimizer",
    "LocalMultiGPUOptimizer",
    "LocalSyncReplayOptimizer",
    "ApexOptimizer",
    "AsyncSamplesOptimizer",
]
SMALL = {"num_workers": 0, "train_batch_size": 32, "learning_starts": 64}
TO_THE_RIGHT = GAMMA ** np.arange(CELLS - 3, -1, -1)  # of cells 1..5: what walking right is worth


def test_the_example_imports_nothing_but_numpy_and_the_optimizers() -> None:
    tree = ast.parse(inspect.getsource(numpy_evaluator))
    imported = {
        name.name if isinstance(node, ast.Import) else f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    ours = {"actorrl.topologies.optimizers"}
    assert imported == {"__future__.annotations", "sys", "typing.Any", "numpy"} | ours


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_the_known_values_under_every_optimizer(name: str) -> None:
    table = train(name, updates=3000, **SMALL)
    assert table[1:-1, RIGHT] == pytest.approx(TO_THE_RIGHT, abs=0.08)
    assert (table[1:-1].argmax(1) == RIGHT).all()


def test_with_processes_of_their_own_workers_act_with_the_learners_weights() -> None:
    with LocalSyncOptimizer(QLearner, num_workers=2, train_batch_size=64) as optimizer:
        right = np.zeros((CELLS, 2), np.float32)
        right[:, RIGHT] = TO_THE_RIGHT[0]
        optimizer.set_weights({"q": right})
        report = optimizer.step(min_updates=20)
        returns = [episode[1] for episode in report["episodes"]]
    assert report["timesteps_total"] == report["num_updates"] * 64
    assert {episode[0] for episode in report["episodes"]} == {0, 1}, "both workers"
    assert np.mean(returns) > 0.8, "an undecided walker finds the end half the time"


class Recording(QLearner):
    """Says in what portions it was asked to differentiate."""

    def compute_gradients(self, samples: Any) -> Any:
        gradients, numbers = super().compute_gradients(samples)
        return gradients, {**numbers, "rows": len(samples["obs"])}


def test_several_passes_of_minibatches_over_a_batch() -> None:
    settings = {"num_workers": 0, "train_batch_size": 96, "num_sgd_iter": 3}
    with LocalMultiGPUOptimizer(Recording, sgd_minibatch_size=40, **settings) as optimizer:
        assert optimizer.step()["stats"]["rows"] == 96 - 2 * 40, "the last of a pass is the rest"


def test_a_gradient_of_a_wrong_size_and_an_unknown_setting_are_refused() -> None:
    with pytest.raises(TypeError, match="workers"):
        AsyncOptimizer(QLearner, workers=3)
    with LocalSyncOptimizer(QLearner, num_workers=0) as optimizer:
        policy = optimizer._cluster._world.mailboxes["learner/0"].actor.update.policy  # type: ignore[union-attr]
        with pytest.raises(ValueError, match=f"3 values, expected {2 * CELLS}"):
            policy.load(np.zeros(3, np.float32))


def test_every_optimizer_is_listed_in_the_modules_table() -> None:
    assert optimizers.__doc__ is not None
    assert all(name in optimizers.__doc__ for name in NAMES)
