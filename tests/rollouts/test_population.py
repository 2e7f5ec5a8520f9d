from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from actorrl.envs.check import check_env
from actorrl.envs.vector import make_vector
from actorrl.policies.evolution import EvolutionPolicy
from actorrl.rollouts.population import Population
from actorrl.testing.probe_envs import reward_of

COUNTING = "actorrl.testing.probe_envs:CountingEnv"
LENGTHS = [3, -5, 2, 7]


def played(autoreset: Any, num_envs: int, count: int, asked: list[int]) -> Any:
    info = check_env(COUNTING, {"lengths": LENGTHS})
    policy = EvolutionPolicy(info.observation_space, info.action_space)
    env = make_vector(info.env, {"lengths": LENGTHS}, num_envs, seed=0, autoreset=autoreset)
    population = Population(env, policy)

    def candidate(number: int) -> np.ndarray:
        asked.append(number)
        return policy.parameters

    population.play(candidate, count, seed=1)  # what ran on is forgotten
    asked.clear()
    return population.play(candidate, count, seed=2)


def slow(num_envs: int, count: int, next_step: bool) -> tuple[list[float], list[int]]:
    """One step of all environments after another, each with its own episode and candidate."""
    returns, lengths = [0.0] * count, [0] * count
    number, episode, step = list(range(num_envs)), [0] * num_envs, [0] * num_envs
    waits, following = [False] * num_envs, num_envs
    while min(number) < count:
        for b in range(num_envs):
            if waits[b]:
                waits[b] = False
                continue
            step[b] += 1
            if number[b] < count:
                returns[number[b]] += reward_of(b, episode[b], step[b])
                lengths[number[b]] += 1
            if step[b] == abs(LENGTHS[episode[b] % 4]):
                number[b], following = following, following + 1
                episode[b], step[b], waits[b] = episode[b] + 1, 0, next_step
    return returns, lengths


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
@pytest.mark.parametrize(("num_envs", "count"), [(1, 5), (3, 10), (4, 2)])
def test_each_candidate_has_one_whole_episode_of_its_own(
    autoreset: str, num_envs: int, count: int
) -> None:
    found = played(autoreset, num_envs, count, [])
    returns, lengths = slow(num_envs, count, autoreset == "next_step")
    np.testing.assert_allclose(found.returns, returns)
    np.testing.assert_array_equal(found.lengths, lengths)
    assert found.observed.count == sum(lengths), "every observation acted on, and no other"


def test_every_candidate_is_asked_for_and_moments_are_of_what_was_seen() -> None:
    asked: list[int] = []
    found = played("next_step", 2, 7, asked)
    assert set(asked) == set(range(7))
    assert found.observed.mean[2] == pytest.approx(
        sum(n * (n - 1) / 2 for n in found.lengths) / found.lengths.sum()
    ), "the third element counts the steps"


def test_only_perturbed_candidates_explore() -> None:
    """Whether noise was added shows in the return: the environment pays what it is told."""
    info = check_env(Paying, {})
    policy = EvolutionPolicy(info.observation_space, info.action_space, action_noise=0.2)
    population = Population(make_vector(info.env, {}, 2, seed=0), policy)
    found = population.play(lambda number: policy.parameters, 6, seed=1, num_plain=3)
    plain = float(policy.act(np.ones((1, 1), np.float32), explore=False).actions[0, 0])
    np.testing.assert_allclose(found.returns[:3], 4 * plain, atol=1e-5)
    assert (np.abs(found.returns[3:] - 4 * plain) > 1e-3).all()


class Paying(gym.Env[Any, Any]):
    """Four steps, each pays its action."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    def reset(self, **options: Any) -> Any:
        self.t = 0
        return np.ones(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return np.ones(1, np.float32), float(action[0]), self.t == 4, False, {}
