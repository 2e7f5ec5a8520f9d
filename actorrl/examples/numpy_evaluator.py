"""A learner of another kind in our topologies: tabular Q-learning, in NumPy alone.

    python -m actorrl.examples.numpy_evaluator ApexOptimizer

A corridor of 7 cells: a walker starts in the middle, the right end pays 1, the left end 0. The
evaluator below knows nothing of actors; the optimizers run it in processes of their own.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from actorrl.topologies import optimizers

CELLS, LEFT, RIGHT = 7, 0, 1
GAMMA, EPSILON, STEP, ROWS = 0.9, 0.5, 0.5, 32


class QLearner:
    """What RLlib called a policy evaluator: it samples, differentiates, and has weights."""

    def __init__(self, worker_index: int) -> None:
        self.random = np.random.default_rng(worker_index)
        self.q = np.zeros((CELLS, 2), np.float32)
        self.cell, self.steps = CELLS // 2, 0
        self.finished: list[tuple[float, int]] = []

    def sample(self) -> dict[str, np.ndarray]:
        rows = [self.walk() for _ in range(ROWS)]
        names = ("obs", "actions", "rewards", "new_obs", "terminateds")
        return {name: np.array(x) for name, x in zip(names, zip(*rows, strict=True), strict=True)}

    def walk(self) -> tuple[int, int, float, int, bool]:
        """One step; half of all actions are drawn, the others are the best."""
        cell, greedy = self.cell, int(self.q[self.cell].argmax())
        action = int(self.random.integers(2)) if self.random.random() < EPSILON else greedy
        self.cell += 1 if action == RIGHT else -1
        self.steps += 1
        reward, ended = float(self.cell == CELLS - 1), self.cell in (0, CELLS - 1)
        row = (cell, action, reward, self.cell, ended)
        if ended:
            self.finished.append((reward, self.steps))
            self.cell, self.steps = CELLS // 2, 0
        return row

    def finished_episodes(self) -> list[tuple[float, int]]:
        episodes, self.finished = self.finished, []
        return episodes

    def compute_gradients(self, samples: dict[str, np.ndarray]) -> tuple[dict[str, Any], Any]:
        """Of half the mean of weight x TD error squared."""
        best = np.where(samples["terminateds"], 0.0, self.q[samples["new_obs"]].max(1))
        place = samples["obs"], samples["actions"]
        td_error = self.q[place] - (samples["rewards"] + GAMMA * best)
        gradient = np.zeros_like(self.q)
        np.add.at(gradient, place, samples.get("weights", 1.0) * td_error / len(td_error))
        return {"q": gradient}, {"td_error": td_error, "loss": np.square(td_error).mean() / 2}

    def apply_gradients(self, gradients: dict[str, np.ndarray]) -> None:
        self.q -= STEP * gradients["q"]

    def get_weights(self) -> dict[str, np.ndarray]:
        return {"q": self.q}

    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        self.q = weights["q"].copy()


def train(name: str, updates: int = 400, **settings: object) -> np.ndarray:
    """The table [cells, actions] that so many updates under this optimizer lead to."""
    with getattr(optimizers, name)(QLearner, **settings) as optimizer:
        report = optimizer.step(min_updates=updates)
        print(f"{name}: {report['num_updates']} updates, {report['timesteps_total']} steps")
        return np.asarray(optimizer.get_weights()["q"])


if __name__ == "__main__":
    table = train(sys.argv[1] if len(sys.argv) > 1 else "LocalSyncOptimizer")
    print("from each cell, right is better by", np.round(table[1:-1, 1] - table[1:-1, 0], 3))
