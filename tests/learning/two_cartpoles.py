"""Two policies, each with a pole of its own, in one environment, until both of them balance.

python -m tests.learning.two_cartpoles --seed N --results FOLDER --most ENV_STEPS; the run is `run`.
"""

from __future__ import annotations

import argparse

from actorrl import make_multi_agent
from actorrl.algorithms.ppo import PPOConfig

ENOUGH = 450.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--results", required=True)
    parser.add_argument("--most", type=int, required=True)
    flags = parser.parse_args()
    config = (
        PPOConfig()
        .environment(make_multi_agent("CartPole-v1"), env_config={"num_agents": 2})
        .multi_agent(
            policies=["left", "right"],
            policy_mapping_fn=lambda agent, **_: ("left", "right")[int(agent)],
        )
        .rollouts(num_rollout_workers=0)
        .debugging(seed=flags.seed)
    )
    with config.build(results=flags.results, name="run") as algo:
        while True:
            row = algo.train()
            if row["timesteps_total"] >= flags.most:
                break
            means = row["policy_reward_mean"]
            if len(means) == 2 and min(means.values()) >= ENOUGH:
                break


if __name__ == "__main__":
    main()
