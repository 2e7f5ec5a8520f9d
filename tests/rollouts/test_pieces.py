"""What `on_postprocess_trajectory` is shown of several agents, and what becomes of the rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from actorrl.data import columns as c
from actorrl.envs.multi_agent import MultiAgentEnv, MultiAgentVector
from actorrl.envs.registry import EnvContext
from actorrl.errors import EnvironmentFailure
from actorrl.roles.worker_view import WorkerView
from actorrl.rollouts.callbacks import DefaultCallbacks
from actorrl.rollouts.multi_agent import MultiAgentCollector
from actorrl.rollouts.watching import AgentsWatcher
from tests.rollouts.test_multi_agent import Knowers

ALL = "__all__"
SPACE = Box(-np.inf, np.inf, (4,), np.float64)


class Telling(MultiAgentEnv):
    """An observation says [environment, agent, episode, step]. Agent 2 leaves after two steps of
    its own, and comes back for the last three of the episode. Everybody is paid 1 a step."""

    observation_space, action_space = SPACE, Discrete(2)

    def __init__(self, config: Any = None) -> None:
        self.number = config.vector_index
        self.episode = -1

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.episode, self.t = self.episode + 1, 0
        self.limit = 7 + (self.number + self.episode) % 3
        return self._obs([0, 1, 2]), {}

    def _obs(self, agents: list[int]) -> dict[int, np.ndarray]:
        return {i: np.array([self.number, i, self.episode, self.t], float) for i in agents}

    def step(self, action_dict: Any) -> Any:
        self.t += 1
        over = self.t == self.limit
        there = [0, 1, 2] if self.t <= 2 or self.t >= self.limit - 3 else [0, 1]
        ends = {ALL: over, 2: self.t == 2}
        return self._obs(there), dict.fromkeys(action_dict, 1.0), ends, {ALL: False}, {}


class Paying(DefaultCallbacks):
    """Pays what names environment, agent, episode and length of the piece."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int]] = []

    def on_postprocess_trajectory(
        self, *, episode: Any, agent_id: Any, policy_id: str, policies: Any,
        postprocessed_batch: Any, original_batches: Any, **kwargs: Any,
    ) -> None:  # fmt: skip
        env, agent, number, step = postprocessed_batch["obs"].T
        assert (env == episode.env_index).all() and (agent == agent_id).all()
        assert (number == number[0]).all() and (np.diff(step) == 1).all()
        assert policy_id == mapping(agent_id) == episode.policy_for(agent_id)
        self.seen += [(int(env[0]), agent_id, int(number[0]))] * len(step)
        for other, (name, policy, rows) in original_batches.items():
            assert name == mapping(other) and policies[name] is policy
            assert (rows["obs"][:, 1:3] == [other, number[0]]).all()
            assert (rows["rewards"] == 1).all()
        own = original_batches[agent_id][2]
        np.testing.assert_array_equal(own["obs"], postprocessed_batch["obs"])
        episode.custom_metrics["rows"] = episode.custom_metrics.get("rows", 0) + len(step)
        postprocessed_batch["rewards"][:] = pay(postprocessed_batch["obs"])


def pay(obs: np.ndarray) -> np.ndarray:
    found: np.ndarray = obs @ [1000.0, 100.0, 10.0, 1.0]
    return found


def mapping(agent: Any, *ignored: Any) -> str:
    return "odd" if agent == 1 else "even"


def watched(callbacks: Any, rows: int, **more: Any) -> MultiAgentCollector:
    vector = MultiAgentVector(Telling, [EnvContext({}, 1, i) for i in range(2)], seed=0)
    policies = Knowers("even", "odd")
    spaces = dict.fromkeys(policies.policies, SPACE)
    collector = MultiAgentCollector(vector, policies, mapping, spaces, rows, **more)
    collector.watcher = AgentsWatcher(callbacks, vector, WorkerView(1, policies.policies))
    return collector


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("rows", [1, 4, 25])
def test_each_row_is_shown_once_with_those_of_its_agent_and_gets_what_was_paid(
    rows: int, whole: bool
) -> None:
    callbacks = Paying()
    collector = watched(callbacks, rows, whole_episodes=whole)
    decided, finished = [], []
    for _ in range(60 // rows):
        fragment = collector.collect()
        finished += fragment.episodes
        before = len(decided)
        for group in fragment.groups.values():
            obs = group[c.OBS][:-1][group[c.VALID]]
            np.testing.assert_array_equal(group[c.REWARDS][group[c.VALID]], pay(obs))
            assert (group[c.REWARDS][~group[c.VALID]] == 0).all()
            decided += [(int(e), int(a), int(n)) for e, a, n, _ in obs]
        if whole:  # of agents 0 and 1, who are there from beginning to end
            lived = sum(episode.length for episode in fragment.episodes)
            assert fragment.num_env_steps == lived
            assert sum(agent < 2 for _, agent, _ in decided[before:]) == 2 * lived
    assert sorted(callbacks.seen) == sorted(decided)
    assert {agent for _, agent, _ in decided} == {0, 1, 2}
    for episode in finished:
        assert episode.custom_metrics["rows"] == 2 * episode.length + 2 + 3
        assert episode.episode_return == 2 * episode.length + 2 + 3, "reported as it was"


def test_a_change_of_anything_else_is_an_error() -> None:
    class Adding(DefaultCallbacks):
        def on_postprocess_trajectory(self, *, postprocessed_batch: Any, **kwargs: Any) -> None:
            postprocessed_batch["advantages"] = postprocessed_batch["rewards"]

    with pytest.raises(EnvironmentFailure, match=r"put 'advantages' into the batch"):
        watched(Adding(), 4).collect()
