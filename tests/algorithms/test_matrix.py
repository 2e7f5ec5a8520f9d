"""Every algorithm in every space: one iteration, or a sentence before anything starts that names
what it cannot take. `scripts/feature_matrix` makes the README's table of what is recorded here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from actorrl.algorithms.registry import config_class, names
from actorrl.envs.multi_agent import make_multi_agent
from actorrl.errors import ConfigError, EnvironmentFailure

ACTIONS: dict[str, gym.Space[Any]] = {
    "Discrete": spaces.Discrete(3),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(3),
    "Box": spaces.Box(-2.0, 2.0, (2,), np.float32),
    "Dict": spaces.Dict({"gear": spaces.Discrete(3), "wheel": spaces.Box(-1.0, 1.0, (1,))}),
    "Tuple": spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3))),
}
OBSERVATIONS: dict[str, gym.Space[Any]] = {
    "Discrete": spaces.Discrete(5),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3]),
    "MultiBinary": spaces.MultiBinary(4),
    "Box": spaces.Box(-1.0, 1.0, (3,), np.float32),
    "image": spaces.Box(0, 255, (42, 42, 3), np.uint8),
    "Dict": spaces.Dict({"at": spaces.Discrete(3), "speed": spaces.Box(-1.0, 1.0, (2,))}),
    "Tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(-1.0, 1.0, (2,)))),
}
CONTINUOUS = ("DDPG", "TD3", "APEX_DDPG")
WITH_REPLAY = {"learning_starts": 50, "replay_capacity": 1000, "samples_per_insert": 1.0}
SMALL: dict[str, dict[str, Any]] = {
    "PPO": {"train_batch_size": 64, "sgd_minibatch_size": 32, "num_sgd_iter": 1},
    "A2C": {"train_batch_size": 32},
    "PG": {"train_batch_size": 32},
    "IMPALA": {"train_batch_size": 32, "rollout_fragment_length": 16},
    "APPO": {"train_batch_size": 32, "rollout_fragment_length": 16},
    "ES": {"episodes_per_batch": 4},
    "ARS": {"num_rollouts": 2, "rollouts_used": 1},
    "BC": {"train_batch_size": 16},
    **{
        name: {**WITH_REPLAY, "train_batch_size": 32}
        for name in ("DQN", "SAC", "DDPG", "TD3", "APEX", "APEX_DDPG")
    },
}


class Anything(gym.Env[Any, Any]):
    """Draws its observations; an episode has eight steps."""

    def __init__(self, config: Any = None) -> None:
        config = config or {}
        self.observation_space = OBSERVATIONS[config.get("observations", "Box")]
        self.action_space = ACTIONS[config.get("actions", "Discrete")]
        self.t = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self.t = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), (self.action_space, action)
        self.t += 1
        return self.observation_space.sample(), 1.0, False, self.t == 8, {}


def small(algo: str, env: Any = Anything, **env_config: str) -> Any:
    config = config_class(algo)().environment(env, env_config=env_config).debugging(seed=0)
    config.rollouts(num_workers=0, num_envs_per_worker=2).reporting(min_time_s_per_iteration=0)
    if algo != "BC":
        config.training(model={"fcnet_hiddens": [8]})
    return config.training(**SMALL.get(algo, {}))


def recorded(folder: Path, **env_config: str) -> str:
    """A dataset for BC."""
    config = small("A2C", **env_config).offline_data(output=str(folder / "data"))
    with config.build(name="recording", results=folder) as algo:
        algo.train()
    return str(folder / "data")


def trains(config: Any, results: Path) -> dict[str, Any]:
    """One iteration."""
    with config.build(name="run", results=results) as algo:
        row: dict[str, Any] = algo.train()
    assert row["num_updates"] >= 1
    return row


def cell(
    record_property: Callable[[str, object], None], algo: str, column: str, make: Any, said: str
) -> None:
    """Record whether it trains. A refusal is one line that names `said`, and starts nothing."""
    try:
        make()
        found = "yes"
    except (ConfigError, EnvironmentFailure) as error:
        (line,) = str(error).splitlines()
        assert said in line and len(line) < 300, line
        assert not isinstance(error, EnvironmentFailure) or error.during_check
        found = "no"
    record_property("cell", f"{algo}|{column}|{found}")


def marked(cases: list[tuple[str, str]], quick: set[tuple[str, str]]) -> list[Any]:
    """A sample runs always, all with `scripts/test --all`."""
    return [pytest.param(*case, marks=() if case in quick else pytest.mark.slow) for case in cases]


ACTION_CELLS = [(algo, kind) for algo in names() for kind in ACTIONS]
QUICK_ACTIONS = {("PPO", "Dict"), ("DQN", "Box"), ("DQN", "MultiDiscrete"), ("TD3", "Discrete")}


@pytest.mark.parametrize(("algo", "kind"), marked(ACTION_CELLS, QUICK_ACTIONS))
def test_actions(algo: str, kind: str, tmp_path: Path, record_property: Any) -> None:
    def make() -> None:
        config = small(algo, actions=kind)
        if algo == "BC":
            config.offline_data(input_=recorded(tmp_path, actions=kind))
        trains(config, tmp_path)

    cell(record_property, algo, f"actions {kind}", make, kind)


OBSERVATION_CELLS = [(algo, kind) for algo in names() for kind in OBSERVATIONS]
QUICK_OBSERVATIONS = {("ES", "Tuple"), ("SAC", "Dict"), ("A3C", "Discrete")}


@pytest.mark.parametrize(("algo", "kind"), marked(OBSERVATION_CELLS, QUICK_OBSERVATIONS))
def test_observations(algo: str, kind: str, tmp_path: Path, record_property: Any) -> None:
    spaces_of = {"observations": kind, "actions": "Box" if algo in CONTINUOUS else "Discrete"}

    def make() -> None:
        config = small(algo, **spaces_of)
        if algo == "BC":
            config.offline_data(input_=recorded(tmp_path, **spaces_of))
        trains(config, tmp_path)

    said = "Box" if kind == "image" else kind
    cell(record_property, algo, f"observations {kind}", make, said)


@pytest.mark.parametrize("algo", ["PPO", "SAC", "TD3", "ES"])
def test_boxes_without_axes_are_learned_from_and_acted_in(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = spaces.Box(-1.0, 1.0, ())
    monkeypatch.setitem(OBSERVATIONS, "no axes", point)
    monkeypatch.setitem(ACTIONS, "no axes", point)
    trains(small(algo, observations="no axes", actions="no axes"), tmp_path)


def with_memory(algo: str, folder: Path) -> None:
    config = small(algo, actions="Box" if algo in CONTINUOUS else "Discrete")
    config.training(model={"use_lstm": True, "lstm_cell_size": 8})
    if algo == "BC":
        config.offline_data(input_=recorded(folder))
    trains(config, folder)


def with_several_agents(algo: str, folder: Path) -> None:
    actions = "Box" if algo in CONTINUOUS else "Discrete"
    config = small(algo, make_multi_agent(Anything), actions=actions)
    config.env_config["num_agents"] = 2
    config.multi_agent(policies=["0", "1"], policy_mapping_fn=lambda agent, **more: str(agent))
    if algo == "BC":
        config.offline_data(input_=recorded(folder))
    row = trains(config, folder)
    assert set(row["policy_reward_mean"]) == {"0", "1"}


def with_several_learners(algo: str, folder: Path) -> None:
    actions = "Box" if algo in CONTINUOUS else "Discrete"
    config = small(algo, actions=actions).update_from_dict({"num_learners": 2})
    if algo == "BC":
        config.offline_data(input_=recorded(folder, actions=actions))
    else:
        config.rollouts(num_workers=1)  # each in a process of its own
    row = trains(config, folder)
    assert row["info"]["learner"]["num_learners"] == 2


def from_a_dataset(algo: str, folder: Path) -> None:
    actions = "Box" if algo in CONTINUOUS else "Discrete"
    config = small(algo, actions=actions).offline_data(input_=recorded(folder, actions=actions))
    trains(config, folder)


def recording(algo: str, folder: Path) -> None:
    actions = "Box" if algo in CONTINUOUS else "Discrete"
    config = small(algo, actions=actions).offline_data(output=str(folder / "out"))
    if algo == "BC":
        config.offline_data(input_=recorded(folder))
    trains(config, folder)
    assert any((folder / "out").iterdir())


FEATURES = {
    "LSTM": (with_memory, "use_lstm"),
    "several agents": (with_several_agents, "policies"),
    "several learners": (with_several_learners, "num_learners"),
    "learns from a dataset": (from_a_dataset, "input"),
    "records a dataset": (recording, "output"),
}
FEATURE_CELLS = [(algo, feature) for algo in names() for feature in FEATURES]
QUICK_FEATURES = {
    ("A2C", "LSTM"),
    ("DQN", "LSTM"),
    ("ES", "several agents"),
    ("TD3", "several agents"),
    ("PPO", "several learners"),
}


@pytest.mark.parametrize(("algo", "feature"), marked(FEATURE_CELLS, QUICK_FEATURES))
def test_features(algo: str, feature: str, tmp_path: Path, record_property: Any) -> None:
    make, said = FEATURES[feature]
    cell(record_property, algo, feature, lambda: make(algo, tmp_path), said)


def test_the_readmes_table_has_every_algorithm_and_says_what_the_configs_say() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    table = readme.split("<!-- feature matrix")[1].split("<!-- end")[0]
    lines = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ")]
    head, *rows = [[word.strip() for word in line] for line in lines]
    several = head.index("several agents")
    assert {row[0]: row[several] == "x" for row in rows} == {
        name: config_class(name).several_policies for name in names()
    }
