"""A user's own preprocessor as a part of the environment, and in a whole run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from actorrl import ModelCatalog, Preprocessor, make_multi_agent
from actorrl.algorithms.dqn import DQN
from actorrl.algorithms.ppo import PPO, PPOConfig
from actorrl.envs.own_preprocessor import WithPreprocessor
from actorrl.envs.registry import EnvContext
from actorrl.errors import ConfigError, EnvironmentFailure
from actorrl.roles.rollout_worker import make_source
from actorrl.testing.probe_envs import CountingEnv


class LastDigit(Preprocessor):
    """The step's last digit, one-hot, and a number from the user's own settings."""

    def _init_shape(self, obs_space: gym.Space[Any], options: Any) -> tuple[int, ...]:
        assert obs_space.shape == (3,)
        self.extra = options.get("custom_model_config", {}).get("extra", 0)
        return (11,)

    def transform(self, observation: Any) -> np.ndarray:
        return np.append(np.arange(10) == observation[2] % 10, self.extra)


class Lying(LastDigit):
    def transform(self, observation: Any) -> np.ndarray:
        return np.zeros(5)


class OldCounting:
    """As a user of the old Gym wrote it."""

    observation_space = spaces.Box(0.0, np.inf, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self) -> np.ndarray:
        return np.array([0, 0, 7], np.float32)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
        return np.array([0, 0, 8], np.float32), 1.0, True, {}


OWN: dict[str, Any] = {"model": {"custom_preprocessor": LastDigit}}


def digit(number: int, extra: float = 0) -> np.ndarray:
    return np.append(np.eye(10)[number], extra)


@pytest.mark.parametrize("env", [CountingEnv, OldCounting])
def test_the_environment_shows_what_the_preprocessor_makes(env: Any) -> None:
    wrapped = WithPreprocessor(env, LastDigit, {"custom_model_config": {"extra": 3}})
    made = wrapped(EnvContext({"lengths": [5]}) if env is CountingEnv else EnvContext())
    first = 0 if env is CountingEnv else 7
    np.testing.assert_array_equal(made.reset()[0], digit(first, 3))
    np.testing.assert_array_equal(made.step(0)[0], digit(first + 1, 3))
    assert made.observation_space.shape == (11,)
    np.testing.assert_array_equal(wrapped.transform(np.array([0, 0, 24])), digit(4, 3))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"custom_preprocessor: <class 'int'> .* derived from"):
        WithPreprocessor(CountingEnv, int, {})
    with pytest.raises(NotImplementedError, match="Preprocessor defines no _init_shape"):
        Preprocessor(spaces.Discrete(2))
    for policies in (["a", "b"], {"a": None, "b": (DQN, None, None, OWN)}):
        two = PPOConfig().environment(make_multi_agent("CartPole-v1"), env_config={"num_agents": 2})
        two.multi_agent(policies=policies, policy_mapping_fn=lambda agent: "ab"[agent])
        with pytest.raises(ConfigError, match=r"model.custom_preprocessor: one agent only"):
            (two.training(**OWN) if isinstance(policies, list) else two).program()
    both = {"use_lstm": True, "lstm_use_prev_action": True, "custom_preprocessor": LastDigit}
    with pytest.raises(ConfigError, match=r"custom_preprocessor: together with lstm_use_prev"):
        PPOConfig().environment(CountingEnv).training(model=both).program()
    unknown = PPOConfig().environment(CountingEnv).training(model={"custom_preprocessor": "last"})
    with pytest.raises(ConfigError, match=r"model.custom_preprocessor: 'last' is not registered"):
        unknown.program()


def test_ataris_frames_are_refused() -> None:
    pytest.importorskip("ale_py")
    with pytest.raises(ConfigError, match="not with Atari"):
        WithPreprocessor("ALE/Pong-v5", LastDigit, {})


def test_another_shape_than_was_said_fails_the_check_before_the_run() -> None:
    config = PPOConfig().environment(CountingEnv).training(model={"custom_preprocessor": Lying})
    with pytest.raises(
        EnvironmentFailure, match=r"shape \(5,\), but observation_space has \(11,\)"
    ):
        config.program()


def configured() -> PPOConfig:
    ModelCatalog.register_custom_preprocessor("last_digit", LastDigit)
    model = {"custom_preprocessor": "last_digit", "custom_model_config": {"extra": 2}}
    config = PPOConfig().environment(CountingEnv, env_config={"lengths": [5]}).training(model=model)
    config.training(train_batch_size=40, sgd_minibatch_size=20, num_sgd_iter=1)
    return config.rollouts(num_workers=0, num_envs_per_worker=2, rollout_fragment_length=20)


def test_a_worker_that_has_got_it_as_bytes_sees_it() -> None:
    """Of a class that can be imported nowhere else, as those of a script."""
    local = type("Local", (LastDigit,), {"__module__": "__main__"})
    config = configured().training(model={"custom_preprocessor": local})
    sent = cloudpickle.dumps(config.program().nodes["rollout/0"].args[:2])
    settings, make_policy = cloudpickle.loads(sent)
    env, collector = make_source(settings, 0, 0, make_policy(0, np.arange(2)))
    columns = collector.collect().columns
    env.close()
    np.testing.assert_array_equal(columns["obs"][:6, 0], [digit(i, 2) for i in range(6)])


def test_a_run_learns_from_it_and_its_checkpoint_acts_on_raw_observations(tmp_path: Path) -> None:
    with configured().build(results=tmp_path) as algo:
        assert algo.train()["num_updates"] >= 1
        assert algo.info.observation_space.shape == (11,)
        logits = {
            step: algo.compute_single_action(np.array([0, 0, step]), full_fetch=True)[2]
            for step in (3, 13, 4)
        }
        path = algo.save()
    three, thirteen, four = (extras["action_dist_inputs"] for extras in logits.values())
    assert (three == thirteen).all() and (three != four).any()
    with PPO.from_checkpoint(path, results=tmp_path) as again:
        found = again.compute_single_action(np.array([0, 0, 3]), full_fetch=True)[2]
    np.testing.assert_allclose(found["action_dist_inputs"], three, atol=1e-6)
