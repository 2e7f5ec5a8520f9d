"""A policy of one's own from a loss, and an algorithm of it: RLlib's functional builders.

python -m actorrl.examples.custom_policy
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from actorrl import SampleBatch, build_torch_policy, build_trainer


def policy_gradient_loss(policy: Any, model: Any, dist_class: Any, train_batch: Any) -> Any:
    """The loss of RLlib's documentation."""
    logits, _ = model.from_batch(train_batch)
    action_dist = dist_class(logits, model)
    return -torch.mean(action_dist.logp(train_batch["actions"]) * train_batch["rewards"])


def rewards_to_come(
    policy: Any, sample_batch: SampleBatch, other_agent_batches: Any = None, episode: Any = None
) -> SampleBatch:
    """In the workers, of each episode: its rows, with the discounted sum of what came after each
    in the place of the reward. A constant baseline takes some of the gradient's variance away."""
    gamma, total, sums = policy.config["gamma"], 0.0, []
    for reward in reversed(sample_batch["rewards"].tolist()):
        total = reward + gamma * total
        sums.append(total - policy.config["baseline"])
    return SampleBatch({**sample_batch, "rewards": np.array(sums[::-1], np.float32)})


MyTorchPolicy = build_torch_policy(
    name="MyTorchPolicy",
    loss_fn=policy_gradient_loss,
    postprocess_fn=rewards_to_come,
    get_default_config=lambda: {"lr": 0.01, "baseline": 20.0},
)
MyTrainer = build_trainer(name="MyTrainer", default_policy=MyTorchPolicy)


def train(until: float = 150.0, most: int = 100, results: Any = None) -> float:
    """The highest mean return on CartPole, which ends it; at most so many iterations."""
    best = 0.0
    settings = {"num_workers": 0, "train_batch_size": 1000, "seed": 1}
    with MyTrainer(settings, env="CartPole-v1", results=results) as algo:
        for _ in range(most):
            best = max(best, algo.train()["episode_reward_mean"])
            if best >= until:
                break
        print(f"mean return {best:.1f}")
    return best


if __name__ == "__main__":
    train()
