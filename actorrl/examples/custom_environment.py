"""An environment of one's own: a class with Gymnasium's methods, and settings for it.

python -m actorrl.examples.custom_environment
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from actorrl import EnvContext
from actorrl.algorithms.ppo import PPOConfig

LEFT, RIGHT = 0, 1


class Corridor(gym.Env[np.ndarray, Any]):
    """Cells 0 to `length`: from the first one to the last, where 1 is paid; each step costs .1."""

    def __init__(self, config: EnvContext) -> None:
        """`config` is a dict, with the numbers of the worker and of the environment in it."""
        self.length = int(config.get("length", 5))
        self.observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)
        self.cell = self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.cell = self.steps = 0
        return self.seen(), {}

    def step(self, action: int) -> Any:
        self.cell = max(0, self.cell + (1 if action == RIGHT else -1))
        self.steps += 1
        arrived = self.cell == self.length
        return self.seen(), 0.9 if arrived else -0.1, arrived, self.steps == 40, {}

    def seen(self) -> np.ndarray:
        return np.array([self.cell / self.length], np.float32)


def config(lr: float = 5e-3, **settings: Any) -> PPOConfig:
    """PPO in the corridor, in this process; the class itself says which environment."""
    return (
        PPOConfig()
        .environment(Corridor, env_config={"length": 5})
        .rollouts(num_rollout_workers=0, num_envs_per_worker=8)
        .training(train_batch_size=400, sgd_minibatch_size=100, num_sgd_iter=6, lr=lr, **settings)
        .debugging(seed=1)
    )


def train(iterations: int = 6, results: Any = None, **settings: Any) -> float:
    """The mean return at the end; straight on it is .5."""
    settings = {"model": {"fcnet_hiddens": [16]}, **settings}
    with config(**settings).build(results=results) as algo:
        for _ in range(iterations):
            result = algo.train()
            print(f"mean return {result['episode_reward_mean']:.2f}")
    return float(result["episode_reward_mean"])


if __name__ == "__main__":
    train()
