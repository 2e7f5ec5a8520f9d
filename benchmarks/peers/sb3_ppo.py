"""Stable-Baselines3's PPO on CartPole-v1 with the Zoo's settings: sb3_ppo.py SEED ROWS."""

import json
import sys

from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env


class Rows(BaseCallback):
    def __init__(self, path):
        super().__init__()
        self.path = path

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        episodes = self.model.ep_info_buffer
        mean = sum(e["r"] for e in episodes) / len(episodes) if len(episodes) >= 100 else None
        with open(self.path, "a") as file:
            row = {"episode_reward_mean": mean, "timesteps_total": self.num_timesteps}
            file.write(json.dumps(row) + "\n")


def main(seed, path):
    env = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
    total = 1_000_000
    model = PPO(
        "MlpPolicy",
        env,
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        # the Zoo lets both fall to zero over its 1e5 steps
        learning_rate=lambda left: 0.001 * max(0.0, 1 - (1 - left) * total / 1e5),
        clip_range=lambda left: 0.2 * max(0.0, 1 - (1 - left) * total / 1e5),
        seed=seed,
        device="cpu",
    )
    model.learn(total, callback=Rows(path))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
