"""The script of the library's contract, as a plain file without a `__main__` guard."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.system import runs

LIBRARY = """
from actorrl.algorithms.a2c import A2C, A2CConfig
from actorrl import EnvContext, SampleBatch, register_env
config = (A2CConfig().environment("CartPole-v1", env_config={})
          .rollouts(num_rollout_workers=2, num_envs_per_worker=8, rollout_fragment_length=50)
          .training(lr=3e-4, train_batch_size=4000).resources(num_gpus=0).framework("torch")
          .evaluation(evaluation_interval=2))
algo = config.build()
result = algo.train()
print(result["episode_reward_mean"], result["timesteps_total"])
assert result["timesteps_total"] >= 4000 and result["training_iteration"] == 1, result
assert result["episode_reward_mean"] > 5 and result["num_healthy_workers"] == 2, result
assert result["num_updates"] == 1 and result["evaluation"] == {}
result = algo.train()
assert result["evaluation"]["episode_reward_mean"] > 5, "the evaluation due at 2 is in row 2"
weights = algo.get_policy().get_weights()
assert len(weights) > 2 and all(w.dtype == "float32" for w in weights.values())
action = algo.compute_single_action([0.0, 0.1, 0.0, -0.1])
assert action in (0, 1)
played = algo.evaluate()
assert played["episodes"] == 10
path = algo.save()
assert isinstance(path, str)
algo.restore(path)
doubled = {name: 2 * w for name, w in weights.items()}
algo.get_policy().set_weights(doubled)
assert all((algo.get_policy().get_weights()[n] == doubled[n]).all() for n in doubled)
folder = algo.run_folder
algo.stop()
algo = A2C.from_checkpoint(path)
assert algo.run_folder != folder
same = algo.get_policy().get_weights()
assert all((same[name] == w).all() for name, w in weights.items()), "those that were saved"
result = algo.train()
assert result["training_iteration"] == 3 and result["timesteps_total"] >= 12000, result
algo.stop()
print("done")
"""

OWN_ENVIRONMENT = """
import gymnasium as gym
import numpy as np
from actorrl.algorithms.a2c import A2C, A2CConfig

started = __name__  # a child that imported this file would start runs of its own

class Corridor(gym.Env):
    '''Right is good.'''
    def __init__(self, config):
        self.length = config["length"]
        self.worker = config.worker_index
        self.observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = 0, 0
        return self.look(), {}

    def step(self, action):
        self.place = max(0, self.place + (1 if action else -1))
        self.steps += 1
        there = self.place >= self.length
        return self.look(), float(there), there, self.steps >= 50, {}

    def look(self):
        return np.array([self.place / self.length], np.float32)

config = (A2CConfig().environment(Corridor, env_config={"length": 4})
          .rollouts(num_rollout_workers=2, num_envs_per_worker=2).training(lr=5e-3))
algo = config.build()
for _ in range(40):
    result = algo.train()
assert result["episode_reward_mean"] > 0.9, result["episode_reward_mean"]
path = algo.save()
algo.stop()
algo = A2C.from_checkpoint(path)  # the class is found where it was: in this script
assert algo.evaluate(episodes=4)["episode_reward_mean"] == 1.0
assert algo.train()["training_iteration"] == 41
algo.stop()
algo = A2C.from_checkpoint(path, env=Corridor)
assert algo.evaluate(episodes=4)["episode_reward_mean"] == 1.0
algo.stop()
print("done")
"""

ELSEWHERE = """
import sys
from actorrl.algorithms.a2c import A2C
from actorrl.errors import CheckpointError
try:
    A2C.from_checkpoint(sys.argv[1])
except CheckpointError as error:
    print(error)
"""

REGISTERED = """
import gymnasium as gym
from actorrl import register_env
from actorrl.algorithms.a2c import A2CConfig

length = 30
register_env("short pole", lambda context: gym.make("CartPole-v1", max_episode_steps=length))
algo = A2CConfig().environment("short pole").rollouts(num_rollout_workers=1).build()
for _ in range(3):
    result = algo.train()
assert result["episode_len_mean"] <= length, result
algo.stop()
print("done")
"""


MODEL = """
import torch.nn as nn
from actorrl import ModelCatalog, TorchModelV2

class CustomModel(TorchModelV2, nn.Module):
    def __init__(self, obs_space, action_space, num_outputs, model_config, name):
        TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
        nn.Module.__init__(self)
        self.body = nn.Sequential(nn.Linear(obs_space.shape[0], 32), nn.Tanh())
        self.policy_head = nn.Linear(32, num_outputs)
        self.value_head = nn.Linear(32, 1)

    def forward(self, input_dict, state, seq_lens):
        features = self.body(input_dict["obs"])
        self._value = self.value_head(features).squeeze(1)
        return self.policy_head(features), state

    def value_function(self):
        return self._value

ModelCatalog.register_custom_model("custom_model", CustomModel)
"""

CUSTOM_MODEL = (
    MODEL
    + """
from actorrl.algorithms.ppo import PPO, PPOConfig

config = (PPOConfig().environment(env="CartPole-v1").rollouts(num_rollout_workers=2)
          .training(model={"custom_model": "custom_model"}, train_batch_size=400))
algo = config.build()
for _ in range(2):
    result = algo.train()
assert result["num_healthy_workers"] == 2 and result["num_updates"] == 2, result
weights = algo.get_policy().get_weights()
assert weights["model.body.0.weight"].shape == (32, 4)
path = algo.save()
algo.stop()
algo = PPO.from_checkpoint(path)  # the class is found where it was: in this script
assert (algo.get_policy().get_weights()["model.body.0.weight"]
        == weights["model.body.0.weight"]).all()
algo.stop()
print("done")
"""
)

MODEL_ELSEWHERE = """
import sys
from actorrl.algorithms.ppo import PPO
from actorrl.errors import CheckpointError
try:
    PPO.from_checkpoint(sys.argv[1]).stop()
    print("loaded")
except CheckpointError as error:
    print(error)
"""


def run_script(text: str, home: Path, *arguments: str) -> str:
    """Its output; its exit code must be 0, and no process of its runs may be left."""
    script = home / "script.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        cwd=home,
        env=runs.environment(home),
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_librarys_script_runs_as_it_stands(tmp_path: Path) -> None:
    assert run_script(LIBRARY, tmp_path).endswith("done\n")
    folders = sorted(path.name for path in (tmp_path / "actorrl_results").iterdir())
    assert len(folders) == 2 and all(name.startswith("A2C_CartPole-v1_") for name in folders)
    for name in folders:
        folder = tmp_path / "actorrl_results" / name
        for part in ("params.json", "result.json", "progress.csv", "events.jsonl", "checkpoints"):
            assert (folder / part).exists(), part
        assert list(folder.glob("events.out.tfevents.*")) and list((folder / "logs").iterdir())


def test_an_environment_class_of_the_script_itself_works_and_is_asked_for_elsewhere(
    tmp_path: Path,
) -> None:
    assert run_script(OWN_ENVIRONMENT, tmp_path).endswith("done\n")
    (checkpoint, *_) = sorted((tmp_path / "actorrl_results").glob("*/checkpoints/*"))
    said = run_script(ELSEWHERE, tmp_path, str(checkpoint))
    assert "needs the environment Corridor" in said and "env=Corridor" in said


def test_a_registered_environment_reaches_the_workers(tmp_path: Path) -> None:
    assert run_script(REGISTERED, tmp_path).endswith("done\n")


def test_a_model_class_of_the_script_reaches_the_workers_and_is_asked_for_elsewhere(
    tmp_path: Path,
) -> None:
    assert run_script(CUSTOM_MODEL, tmp_path).endswith("done\n")
    (checkpoint, *_) = sorted((tmp_path / "actorrl_results").glob("*/checkpoints/*"))
    said = run_script(MODEL_ELSEWHERE, tmp_path, str(checkpoint))
    assert "ModelCatalog.register_custom_model('CustomModel', CustomModel)" in said
    assert "loaded" in run_script(MODEL + MODEL_ELSEWHERE, tmp_path, str(checkpoint))
