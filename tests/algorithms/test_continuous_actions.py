"""Continuous actions through workers, replay and learner; and what has other actions is refused."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from actorrl.algorithms.apex_ddpg import first_priorities, make_policy, make_postprocess
from actorrl.algorithms.base import Setup
from actorrl.algorithms.ddpg import DeterministicUpdate
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.data import columns as c
from actorrl.envs.vector import make_vector
from actorrl.errors import ConfigError
from actorrl.rollouts.collector import Collector
from actorrl.testing.probe_envs import CountingEnv
from tests.roles import worlds
from tests.roles.test_replay_roles import check_row, rows_in

torch.set_num_threads(1)


class Thrust(CountingEnv):
    """CountingEnv whose action is a number in -2..6."""

    seen: list[float] = []

    def __init__(self, env_config: Any = None) -> None:
        super().__init__(env_config)
        self.action_space = spaces.Box(-2.0, 6.0, (1,), np.float32)

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        Thrust.seen.append(float(action[0]))
        return super().step(0)


class Buttons(CountingEnv):
    def __init__(self, env_config: Any = None) -> None:
        super().__init__(env_config)
        self.action_space = spaces.MultiBinary(2)


@pytest.mark.parametrize("name", ["DDPG", "TD3", "SAC", "APEX_DDPG"])
def test_actions_are_kept_in_minus_one_to_one_and_scaled_at_the_environment(name: str) -> None:
    """And rows end where episodes end; a truncation bootstraps."""
    Thrust.seen = []
    settings = {"num_workers": 1, "num_envs_per_worker": 3, "learning_starts": 40, "gamma": 0.9}
    config, info = worlds.configured(name, Thrust, train_batch_size=32, n_step=3, **settings)
    program = config.algorithm.program(config, Setup(info, 0, lambda: None))
    node = program.nodes["learner/0"]
    make = node.args[0].make_update
    node.args = (worlds.learner(worlds.recording(make, learns=True), 32), *node.args[1:])
    with worlds.running(program) as cluster:
        worlds.train(cluster, min_updates=40)
        batches = worlds.actor(cluster).update.batches
    actions = torch.cat([batch[c.ACTIONS] for batch in batches])
    assert actions.dtype == torch.float32 and actions.shape[1] == 1
    assert -1 <= actions.min() < -0.1 and 0.1 < actions.max() <= 1
    sent = np.array(Thrust.seen)
    assert sent.min() < 2 - 4 * 0.1 and sent.max() > 2 + 4 * 0.1, (
        "the middle is 2, half the width 4"
    )
    kinds = {check_row(row, 3, 0.9) for batch in batches for row in rows_in(batch)}
    assert kinds == {"whole", "terminated", "truncated"}


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize("twin_q", [False, True])
def test_a_worker_of_apex_ddpg_gives_rows_the_learners_own_priorities(
    autoreset: Any, twin_q: bool
) -> None:
    """While target and online networks are the same, that is with the first weights."""
    config, info = worlds.configured("APEX_DDPG", Thrust, twin_q=twin_q, num_envs_per_worker=4)
    make = functools.partial(DeterministicUpdate, config, info, 0, "cpu")
    update = make()
    policy = make_policy(config, info, 1, np.arange(4))
    policy.load_flat(update.policy.flat_weights(), 1)
    vector = make_vector(info.env, {}, 4, seed=0, autoreset=autoreset)
    collector = Collector(vector, policy, 16)
    postprocess = make_postprocess(config, None, policy, 4)
    for _ in range(3):
        _, rows = postprocess(collector.collect())
        batch = {name: torch.from_numpy(x) for name, x in rows.items() if name != c.PRIORITIES}
        batch[c.WEIGHTS] = torch.ones(len(rows[c.PRIORITIES]))
        errors = make()(batch, 0)[c.PRIORITIES]
        np.testing.assert_allclose(rows[c.PRIORITIES], errors, atol=1e-4, rtol=1e-5)


def test_a_fragment_without_whole_rows_has_no_priorities() -> None:
    config, info = worlds.configured("APEX_DDPG", Thrust)
    policy = make_policy(config, info, 0, np.arange(1))
    assert first_priorities(policy, {c.REWARDS: np.empty(0, np.float32)}).shape == (0,)


def test_each_environment_of_apex_ddpg_has_its_own_noise_and_the_last_least() -> None:
    config, info = worlds.configured("APEX_DDPG", Thrust, num_workers=2, num_envs_per_worker=2)
    obs = np.zeros((2, 3), np.float32)
    spread = []
    for worker in range(2):
        policy = make_policy(config, info, 0, np.arange(2) + 2 * worker)
        still = policy.act(obs, explore=False).actions
        drawn = np.stack([policy.act(obs).actions - still for _ in range(400)])
        spread += list(drawn.std(0)[:, 0])
    wanted = 0.5 ** (1 + 4 * np.arange(4) / 3)
    np.testing.assert_allclose(spread, np.minimum(wanted, 0.5), rtol=0.15)


@pytest.mark.parametrize(
    ("name", "env", "space"),
    [
        ("DQN", "Pendulum-v1", "Box"),
        ("APEX", "Pendulum-v1", "Box"),
        ("DDPG", "CartPole-v1", "Discrete"),
        ("TD3", "CartPole-v1", "Discrete"),
        ("APEX_DDPG", "CartPole-v1", "Discrete"),
        ("SAC", Buttons, "MultiBinary"),
        ("ES", Buttons, "MultiBinary"),
        ("ARS", Buttons, "MultiBinary"),
    ],
)
def test_an_action_space_that_cannot_be_is_named_before_anything_is_made(
    name: str, env: Any, space: str, tmp_path: Path
) -> None:
    config = config_class(name)().environment(env)
    with pytest.raises(ConfigError, match=rf"env: .* cannot act in .* {space}.*expected"):
        config.build(results=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["DQN", "DDPG", "TD3", "SAC", "APEX", "APEX_DDPG"])
def test_a_batch_larger_than_the_replay_is_refused(name: str) -> None:
    config = config_class(name)().environment("CartPole-v1")
    config.training(train_batch_size=512, replay_capacity=256, learning_starts=100)
    with pytest.raises(ConfigError, match="train_batch_size: 512 rows cannot come from"):
        checked(config)


@pytest.mark.parametrize(
    ("env", "given", "rows"),
    [
        ("CartPole-v1", None, 20_000),
        ("Pendulum-v1", None, 200_000),
        ("CartPole-v1", 70_000, 70_000),
    ],
)
def test_sac_keeps_fewer_rows_where_actions_are_discrete(
    env: str, given: int | None, rows: int
) -> None:
    config, info = worlds.configured("SAC", env, replay_capacity=given)
    assert config.local_replay(info, seed=0).capacity == rows


class Slider(CountingEnv):
    """CountingEnv whose action is a number; `seen` holds all that it was given."""

    seen: list[float] = []

    def __init__(self, env_config: Any = None) -> None:
        super().__init__(env_config)
        self.action_space = spaces.Box(-0.5, 0.25, (1,), np.float32)

    def step(self, action: Any) -> Any:
        Slider.seen.append(float(action[0]))
        return super().step(0)


@pytest.mark.parametrize("name", ["PPO", "PG"])
def test_actions_may_be_learned_in_the_environments_own_units(name: str, tmp_path: Path) -> None:
    """Of a standard normal at first: normalised ones are scaled, others clipped, or neither."""
    lows, highs = [], []
    for settings in ({}, {"normalize_actions": False, "clip_actions": True}, RAW):
        Slider.seen = []
        config = config_class(name)().environment(Slider, **settings).debugging(seed=1)
        config.rollouts(num_workers=0, rollout_fragment_length=20).training(train_batch_size=160)
        with config.build(results=tmp_path, name=f"run{len(lows)}") as algo:
            algo.train()
            got = algo.compute_single_action(algo.info.observation_space.sample(), explore=True)
            assert algo.config.action_space is None and np.shape(got) == (1,)
        lows.append(min(Slider.seen))
        highs.append(max(Slider.seen))
    assert (lows[:2], highs[:2]) == ([-0.5, -0.5], [0.25, 0.25])
    assert lows[2] < -1 and highs[2] > 1


RAW = {"normalize_actions": False}


def test_units_of_actions_are_refused_where_networks_or_records_need_minus_one_to_one() -> None:
    with pytest.raises(ConfigError, match="normalize_actions: False is not accepted, expected Tr"):
        config_class("SAC")().environment(Slider, **RAW)
    with pytest.raises(ConfigError, match="output: recorded actions are those that are learned"):
        config_class("PPO")().environment(Slider, **RAW).offline_data(output="x").program()
