"""Sample Factory's APPO, appending `SECONDS STEPS MEAN` lines to a file. Runs under its own
Python."""

import argparse
import sys
import threading
import time

import gymnasium as gym
import numpy as np
from sample_factory.algo.runners.runner import AlgoObserver
from sample_factory.cfg.arguments import parse_full_cfg, parse_sf_args
from sample_factory.envs.env_utils import register_env
from sample_factory.train import make_runner


class Arrays(gym.ObservationWrapper):
    def observation(self, observation):
        return np.asarray(observation)


def make_env(full_env_name, cfg=None, env_config=None, render_mode=None):
    if full_env_name == "cartpole":
        return gym.make("CartPole-v1")
    import ale_py  # noqa: F401  registers itself

    env = gym.make("ALE/Pong-v5", frameskip=1)
    env = gym.wrappers.AtariPreprocessing(env, frame_skip=4, screen_size=84)
    stack = getattr(gym.wrappers, "FrameStackObservation", None) or gym.wrappers.FrameStack
    env = stack(gym.wrappers.TransformReward(env, lambda r: (r > 0) - (r < 0)), 4)
    return Arrays(env)


class Counting(AlgoObserver):
    def __init__(self, path):
        self.path, self.started = path, time.monotonic()

    def on_start(self, runner):
        threading.Thread(target=self.count, args=(runner,), daemon=True).start()

    def count(self, runner):
        while True:
            time.sleep(0.5)
            steps = sum(runner.env_steps.values())
            rewards = runner.policy_avg_stats.get("reward", [()])[0]
            mean = float(np.mean(rewards)) if len(rewards) else float("nan")
            if steps:
                with open(self.path, "a") as file:
                    file.write(f"{time.monotonic() - self.started} {steps} {mean}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts")
    parser.add_argument("--env")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--envs", type=int)
    parser.add_argument("--seed", default="1")
    given = parser.parse_args()
    register_env(given.env, make_env)
    words = [
        "--algo=APPO", f"--env={given.env}", "--device=cpu", "--experiment=bench",
        f"--train_dir={given.counts}.sf", f"--num_workers={given.workers}",
        f"--num_envs_per_worker={given.envs}", "--worker_num_splits=2", "--batch_size=512",
        "--rollout=32", "--num_epochs=1", "--async_rl=True", "--train_for_env_steps=1000000000",
        "--use_rnn=False", "--recurrence=1", "--env_frameskip=1", "--env_framestack=1",
        "--normalize_input=False", "--normalize_returns=False",
        "--decorrelate_envs_on_one_worker=False", "--serial_mode=False", f"--seed={given.seed}",
        "--stats_avg=100", "--save_every_sec=100000",
    ]  # fmt: skip
    if given.env == "cartpole":
        words += ["--encoder_mlp_layers", "64", "64", "--nonlinearity=tanh"]
    else:
        words += [
            "--encoder_conv_architecture=convnet_atari", "--encoder_conv_mlp_layers", "512",
            "--obs_scale=255.0", "--nonlinearity=relu",
        ]  # fmt: skip
    parser, _ = parse_sf_args(words)
    cfg = parse_full_cfg(parser, words)
    cfg, runner = make_runner(cfg)
    runner.register_observer(Counting(given.counts))
    runner.init()
    return runner.run()


if __name__ == "__main__":
    sys.exit(main())
