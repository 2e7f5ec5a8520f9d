"""RLlib 2.6.3's IMPALA, APEX and A3C, appending `SECONDS STEPS MEAN` lines to a file. Runs under
its own Python.

A3C is run with its weight-broadcast defect bypassed: its loop hands an empty list of workers to
`sync_weights` when no gradient is ready, and an empty list means "all".
"""

import argparse
import json
import time

import gymnasium as gym
import ray
from ray.rllib.algorithms.a3c import A3CConfig
from ray.rllib.algorithms.apex_dqn import ApexDQNConfig
from ray.rllib.algorithms.impala import ImpalaConfig
from ray.rllib.evaluation.worker_set import WorkerSet
from ray.rllib.models import ModelCatalog
from ray.rllib.models.torch.torch_modelv2 import TorchModelV2
from ray.tune.registry import register_env
from torch import nn


def make_pong(config):
    import ale_py  # noqa: F401  registers itself

    settings = {"screen_size": 84, **config}
    side = settings.pop("screen_size")
    env = gym.make("ALE/Pong-v5", frameskip=1, **settings)
    env = gym.wrappers.AtariPreprocessing(env, frame_skip=4, screen_size=side)
    env = gym.wrappers.TransformReward(env, lambda r: (r > 0) - (r < 0))
    return LastAxis(gym.wrappers.FrameStack(env, 4))


class LastAxis(gym.ObservationWrapper):
    """[4, H, W] to [H, W, 4]: what RLlib's networks expect."""

    def __init__(self, env):
        super().__init__(env)
        shape = env.observation_space.shape
        self.observation_space = gym.spaces.Box(0, 255, (*shape[1:], shape[0]), "uint8")

    def observation(self, observation):
        import numpy as np

        return np.moveaxis(np.asarray(observation), 0, -1)


NATURE = (((32, 8, 4), (64, 4, 2), (64, 3, 1)), 512)  # Mnih et al. 2015, of 84 x 84
SMALL = (((16, 4, 2), (32, 4, 2), (64, 3, 2)), 256)  # of 42 x 42


def network_of(side):
    """Filters and width of the network for frames of that many pixels a side."""
    return NATURE if side >= 84 else SMALL


class Convolutions(TorchModelV2, nn.Module):
    """The networks that the other sides have: RLlib's own pads its frames, and its last convolution
    is to leave one pixel. DQN asks for features and puts its heads on them."""

    def __init__(self, obs_space, action_space, num_outputs, model_config, name):
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        side, _, channels = obs_space.shape
        filters, width = network_of(side)
        layers = []
        for outputs, kernel, stride in filters:
            layers += [nn.Conv2d(channels, outputs, kernel, stride), nn.ReLU()]
            channels, side = outputs, (side - kernel) // stride + 1
        layers += [nn.Flatten(), nn.Linear(channels * side * side, width), nn.ReLU()]
        self._features = nn.Sequential(*layers)
        asked = not model_config.get("no_final_linear")
        self._logits = nn.Linear(width, num_outputs) if asked else nn.Identity()
        self._value = nn.Linear(width, 1)

    def forward(self, input_dict, state, seq_lens):
        self._last = self._features(input_dict["obs"].permute(0, 3, 1, 2).float() / 255)
        return self._logits(self._last), state

    def value_function(self):
        return self._value(self._last).squeeze(-1)


def bypass_the_a3c_defect():
    sync = WorkerSet.sync_weights

    def checked(self, *args, **kwargs):
        if kwargs.get("to_worker_indices") == []:
            return None
        return sync(self, *args, **kwargs)

    WorkerSet.sync_weights = checked


def config_of(given):
    config = {"impala": ImpalaConfig, "apex": ApexDQNConfig, "a3c": A3CConfig}[given.algo]()
    fragment = {"impala": 50, "apex": 50, "a3c": 10}[given.algo]
    env = "CartPole-v1" if given.env == "cartpole" else "pong"
    config = (
        config.environment(env)
        .framework("torch")
        .rollouts(
            num_rollout_workers=given.workers,
            num_envs_per_worker=given.envs,
            rollout_fragment_length=fragment,
            preprocessor_pref=None,
        )
        .resources(num_gpus=0)
        .debugging(seed=given.seed)
        .reporting(min_time_s_per_iteration=1, min_sample_timesteps_per_iteration=0)
    )
    model = {"fcnet_hiddens": [64, 64]}
    if given.env == "pong":
        ModelCatalog.register_custom_model("convolutions", Convolutions)
        _, width = network_of(given.screen_size)
        model = {"custom_model": "convolutions", "fcnet_hiddens": [width]}
    config.training(model=model)
    if given.algo == "impala":
        config.training(train_batch_size=500, num_sgd_iter=1)
    if given.algo == "apex":
        replay = {
            **config.replay_buffer_config,
            "capacity": 50_000,
            "num_replay_buffer_shards": 1,
        }
        config.training(
            train_batch_size=512,
            replay_buffer_config=replay,
            num_steps_sampled_before_learning_starts=2000,
            n_step=3,
        )
    if given.env == "pong":
        config.env_config["screen_size"] = given.screen_size
    return config.update_from_dict(json.loads(given.set))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts")
    parser.add_argument("--algo")
    parser.add_argument("--env")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--envs", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--screen-size", type=int, default=84, help="of Pong, each side in pixels")
    parser.add_argument("--set", default="{}", help="more settings, as JSON")
    given = parser.parse_args()
    ray.init(num_cpus=8, include_dashboard=False)
    register_env("pong", make_pong)
    if given.algo == "a3c":
        bypass_the_a3c_defect()
    algo = config_of(given).build()
    started = time.monotonic()
    while True:
        result = algo.train()
        with open(given.counts, "a") as file:
            steps, mean = result["num_env_steps_sampled"], result["episode_reward_mean"]
            file.write(f"{time.monotonic() - started} {steps} {mean}\n")


if __name__ == "__main__":
    main()
