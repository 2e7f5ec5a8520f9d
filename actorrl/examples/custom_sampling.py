"""What is learned from what was lived through: rewards of one's own, put in by the workers.

    python -m actorrl.examples.custom_sampling

Results show the environment's own rewards. `on_sample_end` shows a worker's rows, `output=DIR`
records them, and `custom_policy.py` makes all columns of a batch itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from actorrl import DefaultCallbacks
from actorrl.examples import custom_environment

GAMMA, WORTH = 0.99, 5.0  # of the whole way


class Hints(DefaultCallbacks):
    """Each step to the right is paid at once: the difference of a potential, which moves no best
    policy (Ng, Harada and Russell 1999)."""

    def on_postprocess_trajectory(
        self, *, postprocessed_batch: Any, episode: Any, **kwargs: Any
    ) -> None:
        rows = postprocessed_batch
        before, after = rows["obs"][:, 0], rows["new_obs"][:, 0]
        hint = WORTH * (GAMMA * np.where(rows["terminateds"], 0.0, after) - before)
        rows["rewards"] = rows["rewards"] + hint.astype(np.float32)
        episode.custom_metrics["hints"] = float(hint.sum())


def train(iterations: int = 6, results: Any = None) -> dict[str, Any]:
    """The last result. A corridor of 12 cells is seldom walked to its end by chance."""
    config = custom_environment.config(gamma=GAMMA, model={"fcnet_hiddens": [16]})
    config.environment(env_config={"length": 12}).callbacks(Hints)
    with config.build(results=results) as algo:
        for _ in range(iterations):
            result = algo.train()
            print(f"mean return {result['episode_reward_mean']:.2f}")
    return result


if __name__ == "__main__":
    train()
