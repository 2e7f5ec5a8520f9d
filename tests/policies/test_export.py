"""Networks in files: what acts with them needs no actorrl."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from actorrl.algorithms.pg import PGConfig
from actorrl.envs.preprocessors import preprocessor_for
from actorrl.errors import ConfigError
from actorrl.models.model_config import ModelConfig
from actorrl.models.q_network import Support
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.base import Policy
from actorrl.policies.deterministic import DeterministicPolicy
from actorrl.policies.evolution import EvolutionPolicy
from actorrl.policies.q_policy import QPolicy
from actorrl.policies.sac import SACPolicy
from tests.policies.custom_models import Plain, Recurrent

torch.set_num_threads(1)
VECTOR, SCREEN = Box(-np.inf, np.inf, (4,)), Box(0, 255, (36, 40), np.uint8)
SLIDER, NUMBERS = Box(-1.0, 3.0, (2,)), Box(-2, 5, (2,), np.int64)
MASKED = preprocessor_for(
    Dict(observations=VECTOR, action_mask=MultiBinary(3)),
).space
LSTM = ModelConfig(use_lstm=True, lstm_cell_size=8, fcnet_hiddens=[8])


def actor(space=VECTOR, actions=None, **settings):
    stack, kind = settings.pop("frame_stack", 1), settings.pop("filter", "NoFilter")
    config = ModelConfig(**{"fcnet_hiddens": [8], **settings})
    return ActorCriticPolicy(space, actions or Discrete(3), stack, config, 0, kind)


POLICIES = {
    "categorical": actor(),
    "counted from 5": actor(actions=Discrete(3, start=5)),
    "several choices": actor(actions=MultiDiscrete([3, 2])),
    "bits": actor(actions=MultiBinary(3)),
    "gaussian": actor(actions=SLIDER),
    "whole numbers": actor(actions=NUMBERS),
    "tuple": actor(actions=Tuple([Discrete(2, start=1), SLIDER])),
    "frames": actor(SCREEN, frame_stack=2),
    "mask": actor(MASKED),
    "filter": actor(filter="MeanStdFilter"),
    "users": actor(custom_model=Plain),
    "q": QPolicy(VECTOR, Discrete(3)),
    "filtered q": QPolicy(VECTOR, Discrete(3), observation_filter="MeanStdFilter"),
    "distributional": QPolicy(VECTOR, Discrete(3), support=Support(-1.0, 1.0, 5)),
    "noisy": QPolicy(VECTOR, Discrete(3), noisy_sigma=0.5),
    "deterministic": DeterministicPolicy(VECTOR, SLIDER),
    "squashed": SACPolicy(VECTOR, SLIDER),
    "discrete sac": SACPolicy(VECTOR, Discrete(3)),
    "evolution": EvolutionPolicy(VECTOR, SLIDER),
    "evolution, discrete": EvolutionPolicy(VECTOR, Discrete(3)),
}


def observations(policy: Policy, rows: int) -> np.ndarray:
    random = np.random.default_rng(rows)
    space, stack = policy.observation_space, policy.frame_stack
    shape = (rows, stack, *space.shape) if stack > 1 else (rows, *space.shape)
    if space.dtype == np.uint8:
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.normal(size=shape).astype(np.float32)


def scattered(policy: Policy) -> Policy:
    """With weights far from zero, and all actions apart."""
    random = np.random.default_rng(5)
    weights = policy.flat_weights()
    policy.load_flat(weights + 0.3 * random.normal(size=weights.shape).astype(np.float32), 1)
    return policy


@pytest.mark.parametrize("name", POLICIES)
def test_a_file_acts_as_the_policy_does(name, tmp_path):
    policy = scattered(POLICIES[name])
    model = torch.jit.load(str(tmp_path / policy.export_model(tmp_path / "out") / "model.pt"))
    for rows in (1, 5):
        obs = observations(policy, rows)
        wanted = policy.env_actions(policy.act(obs, explore=False).actions)
        actions = model(torch.from_numpy(obs))[0].numpy()
        if name == "tuple":
            wanted = [np.concatenate([np.ravel(part) for part in one]) for one in wanted]
        else:
            assert actions.dtype == policy.env_actions(policy.act(obs).actions).dtype
        np.testing.assert_allclose(actions, np.asarray(wanted), atol=1e-5)


def test_what_runs_in_bfloat16_is_written_in_float32(tmp_path):
    exact, rough = (QPolicy(SCREEN, Discrete(3), 2, precision=each) for each in ("fp32", "bf16"))
    model = torch.jit.load(rough.export_model(tmp_path / "out") + "/model.pt")
    obs = observations(exact, 3)
    outputs = model(torch.from_numpy(obs))[1].numpy()
    np.testing.assert_allclose(outputs, exact.compute_q_values(obs), atol=1e-5)
    assert np.abs(rough.compute_q_values(obs) - outputs).max() > 1e-4, "itself it goes on as before"


class Counted(Recurrent):
    """A trace knows how many rows there are by `shape`, not by `len`."""

    def forward(self, input_dict, state, seq_lens):
        obs, (h, c) = input_dict["obs"], state
        x = obs.reshape(seq_lens.shape[0], -1, obs.shape[-1])
        out, (h, c) = self.lstm(x, (h.unsqueeze(0).contiguous(), c.unsqueeze(0).contiguous()))
        out = self.heads(out).flatten(0, 1)
        self._value = out[:, -1]
        return out[:, :-1], [h[0], c[0]]


@pytest.mark.parametrize("model", [LSTM, ModelConfig(custom_model=Counted)], ids=["ours", "own"])
def test_a_state_goes_in_and_comes_out(model, tmp_path):
    policy = scattered(ActorCriticPolicy(VECTOR, Discrete(3), 1, model))
    folder = policy.export_model(tmp_path)
    about = json.loads((tmp_path / "model.json").read_text())
    assert [entry["name"] for entry in about["inputs"]] == ["obs", "state_0", "state_1"]
    network = torch.jit.load(f"{folder}/model.pt")
    state = policy.initial_state(4)
    tensors = [torch.from_numpy(part) for part in state]
    np.testing.assert_allclose(about["initial_state"], [part[0] for part in state])
    for step in range(3):
        obs = observations(policy, 4) + step
        act = policy.act(obs, state, explore=False)
        actions, _, *tensors = network(torch.from_numpy(obs), *tensors)
        np.testing.assert_array_equal(actions.numpy(), act.actions)
        for ours, theirs in zip(act.state, tensors, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)
        state = act.state


ALONE = """
import json, sys, torch
model = torch.jit.load(sys.argv[1])
actions = model(torch.tensor(json.loads(sys.argv[2])))[0]
assert not any(name.startswith("actorrl") for name in sys.modules)
print(actions.tolist())
"""


def test_whoever_loads_a_runs_policy_needs_no_actorrl(tmp_path):
    config = PGConfig().environment("CartPole-v1").rollouts(num_workers=0).debugging(seed=1)
    config.training(train_batch_size=100)
    with config.build(results=tmp_path, name="run") as algo:
        algo.train()
        folder = algo.export_policy_model(str(tmp_path / "out"))
        obs = observations(algo.newest_policy(), 6)
        wanted = [int(algo.compute_single_action(one)) for one in obs]
        assert algo.get_policy().export_model(tmp_path / "again") == str(tmp_path / "again")
    command = [sys.executable, "-I", "-c", ALONE, f"{folder}/model.pt", json.dumps(obs.tolist())]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert json.loads(found.stdout) == wanted, found.stderr


class Branching(Plain):
    def forward(self, input_dict, state, seq_lens):
        outputs, state = super().forward(input_dict, state, seq_lens)
        return (-outputs if len(outputs) > 2 else outputs), state


class Heuristic(Policy):
    def act(self, obs, state=(), explore=True):
        raise AssertionError


def test_what_cannot_be_exported_is_said_in_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="trace gives other numbers than the network"):
        actor(custom_model=Branching).export_model(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot be traced: .* but tensor.shape\[0\]"):
        ActorCriticPolicy(VECTOR, Discrete(2), 1, ModelConfig(custom_model=Recurrent)).export_model(
            tmp_path
        )
    with pytest.raises(ConfigError, match="Heuristic has no torch network"):
        Heuristic(VECTOR, Discrete(2)).export_model(tmp_path)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("a file")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"/file.* cannot be made \(.*\), expected a folder"):
            actor().export_model(folder)


def test_onnx_says_what_to_install_or_gives_the_same_actions(tmp_path):
    policy = scattered(actor(actions=SLIDER))
    if importlib.util.find_spec("onnx") is None:
        with pytest.raises(ConfigError, match=r'install it with: .*pip install "actorrl\[onnx\]"'):
            policy.export_model(tmp_path, onnx=17)
        return
    policy.export_model(tmp_path, onnx=17)
    onnxruntime = pytest.importorskip("onnxruntime")
    obs = observations(policy, 5)
    actions = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["actions"], {"obs": obs})
    np.testing.assert_allclose(
        actions[0], policy.env_actions(policy.act(obs, explore=False).actions), atol=1e-5
    )
