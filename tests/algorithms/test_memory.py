"""A cue that must be remembered: only what keeps a state over steps can learn it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actorrl.algorithms.base import Setup
from actorrl.algorithms.playing import evaluate_checkpoint
from actorrl.algorithms.registry import config_class
from actorrl.algorithms.restoring import checked
from actorrl.testing.probe_envs import MemoryCue
from tests.roles import worlds

UPDATES = {"A2C": 250, "A3C": 250, "IMPALA": 250, "APPO": 250, "PG": 150, "PPO": 40}
SETTINGS: dict[str, dict[str, Any]] = {
    "PG": {"train_batch_size": 1000, "entropy_coeff": None},  # it has none
    "PPO": {
        "train_batch_size": 700,
        "num_sgd_iter": 8,  # with 4 one seed in twelve does not get there
        # at 3e-3 one update may undo what is learned
        "lr_schedule": [[0, 3e-3], [28_000, 1e-4]],
    },
}

# APPO's is IMPALA's role and PPO's loss: the two are enough for every day.
_OTHERS = ["A2C", "A3C", "IMPALA", "APPO", "PG"]
ALGORITHMS = ["PPO", *(pytest.param(name, marks=pytest.mark.slow) for name in _OTHERS)]


def mean_return(name: str, model: dict[str, Any]) -> float:
    """Of the last 300 episodes of a run in this process. The cue is shown ten steps before it is
    asked for, and fragments of 16 rows cut episodes of 11 anywhere."""
    config = config_class(name)().environment(MemoryCue, env_config={"delay": 10})
    config.rollouts(num_workers=0, num_envs_per_worker=16, rollout_fragment_length=16)
    settings = {"lr": 5e-3, "entropy_coeff": 0.01, "train_batch_size": 200}
    settings |= SETTINGS.get(name, {})
    config.training(**{key: value for key, value in settings.items() if value is not None})
    config.training(model={"fcnet_hiddens": [16], "fcnet_activation": "tanh", **model})
    program = config.algorithm.program(config, Setup(checked(config), 1, lambda: None))
    with worlds.running(program) as cluster:
        report = worlds.train(cluster, min_updates=UPDATES[name])
    last = [episode_return for _, episode_return, _ in report["episodes"][-300:]]
    return sum(last) / len(last)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_lstm_learns_what_to_remember(name: str) -> None:
    assert mean_return(name, {"use_lstm": True, "lstm_cell_size": 32}) >= 0.95


@pytest.mark.parametrize("name", ALGORITHMS)
def test_without_memory_the_answer_stays_at_chance(name: str) -> None:
    assert mean_return(name, {}) < 0.62


class Arms(gym.Env[Any, Any]):
    """One of three actions pays, another one in each episode of 10; nothing else is to be seen."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def reset(self, **options: Any) -> Any:
        super().reset(**options)
        self.pays, self.t = int(self.np_random.integers(3)), 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.zeros(1, np.float32), float(action == self.pays), False, self.t == 10, {}


def arms(results: Path, **model: Any) -> Any:
    config = config_class("PPO")().environment(Arms).debugging(seed=1)
    config.rollouts(num_workers=0, num_envs_per_worker=16, rollout_fragment_length=11)
    config.training(lr=5e-3, train_batch_size=640, sgd_minibatch_size=160, num_sgd_iter=6)
    config.training(entropy_coeff=0.01, lambda_=0.3)  # an arm pays at once
    config.training(model={"use_lstm": True, "lstm_cell_size": 16, "fcnet_hiddens": [16], **model})
    return config.build(results=results, name=f"run{len(model)}")


TOLD = {"lstm_use_prev_action": True, "lstm_use_prev_reward": True}


def test_the_last_action_and_reward_are_seen_in_training_and_acting(tmp_path: Path) -> None:
    with arms(tmp_path, **TOLD) as algo:
        algo.train()
        assert algo.info.observation_space.shape == (1 + 3 + 1,)
        obs, state = np.zeros(1, np.float32), algo.get_policy().get_initial_state()
        told = [
            algo.compute_single_action(obs, state, prev_action=last, prev_reward=paid)[1][0]
            for last, paid in ((None, None), (0, 0.0), (1, 0.0), (0, 1.0))
        ]
        assert not any(np.array_equal(told[0], other) for other in told[2:])
        np.testing.assert_array_equal(told[0], told[1])  # as nothing done
        _, states, _ = algo.compute_actions(
            dict.fromkeys("abc", obs), dict.fromkeys("abc", state),
            prev_action={"b": 1, "c": 0}, prev_reward={"b": 0.0, "c": 1.0},
        )  # fmt: skip
        for key, wanted in zip("abc", (told[0], told[2], told[3]), strict=True):
            np.testing.assert_array_equal(states[key][0], wanted)
        given = {"obs": obs, **{f"state_in_{i}": part for i, part in enumerate(state)}}
        given |= {"prev_actions": 0, "prev_rewards": 1.0}
        _, after, _ = algo.compute_single_action(input_dict=given, clip_action=False)
        np.testing.assert_array_equal(after[0], told[3])
        policy, batch = algo.get_policy(), [np.tile(part, (4, 1)) for part in state]
        last = {"prev_action_batch": [0, 0, 1, 0], "prev_reward_batch": [0.0, 0.0, 0.0, 1.0]}
        for rows in (np.zeros((4, 1)), np.zeros((4, 5))):  # without their places, and with them
            _, (hidden, _), _ = policy.compute_actions(rows, batch, **last)
            np.testing.assert_allclose(hidden, told, atol=1e-6)
        rows = {"obs": np.zeros((4, 1)), "prev_actions": [0, 0, 1, 0], "prev_rewards": [0, 0, 0, 1]}
        rows |= {f"state_in_{i}": part for i, part in enumerate(batch)}
        np.testing.assert_allclose(
            policy.compute_actions_from_input_dict(rows)[1][0], told, atol=1e-6
        )
        with pytest.raises(TypeError, match="prev_rewards"):
            algo.compute_actions({"a": obs}, prev_rewards={"a": 1.0})
        path = algo.save()
    assert evaluate_checkpoint(path, episodes=2, env=Arms)["episodes"] == 2


@pytest.mark.slow
def test_an_lstm_that_is_told_what_paid_does_it_again(tmp_path: Path) -> None:
    """At best 9 of 10: the arm is found at the first, second or third try. Untold, 10 / 3."""
    with arms(tmp_path, **TOLD) as algo:
        means = [algo.train()["episode_reward_mean"] for _ in range(30)]
    assert means[-1] > 7.5
    with arms(tmp_path) as algo:
        means = [algo.train()["episode_reward_mean"] for _ in range(30)]
    assert means[-1] < 4.2
