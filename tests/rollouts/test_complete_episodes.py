"""Fragments of whole episodes: each is a column, from its first observation to the row behind its
end."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Discrete

from actorrl.data import columns as c
from actorrl.data.frame_stack import stack_frames_numpy
from actorrl.envs.multi_agent import MultiAgentVector
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import make_vector
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.rollouts.advantages import add_advantages
from actorrl.rollouts.complete_episodes import EpisodeCollector
from actorrl.rollouts.multi_agent import MultiAgentCollector
from actorrl.testing.probe_envs import CountingEnv
from tests.rollouts.conftest import ShownPolicy, counting_vector
from tests.rollouts.layouts import check_layout
from tests.rollouts.test_collector import timeline
from tests.rollouts.test_multi_agent import SPACE, Knowers, Steady

LENGTHS = [[3, -1, 9], [5], [-4, 2]]
ROWS = 6


def episodes_of(env: int, lengths: list[int], count: int) -> list[list[tuple]]:
    """Slow and plain: the first episodes of an environment, each with the row behind its end."""
    found, rows = [[]], timeline(env, lengths, "next_step", 12 * count)
    for row in rows:
        found[-1].append(row)
        if not row[5]:
            found.append([])
    return found[:count]


@pytest.mark.parametrize("stack", [1, 3], ids=["numbers", "frames"])
def test_each_column_is_an_episode_and_none_is_left_out(stack: int) -> None:
    vector = counting_vector(LENGTHS, "next_step", frames=stack > 1, frame_stack=stack)
    collector = EpisodeCollector(vector, ShownPolicy(), ROWS, worker_index=1)
    seen: dict[int, list[dict[str, np.ndarray]]] = {0: [], 1: [], 2: []}
    for _ in range(6):
        fragment = collector.collect()
        columns, valid = fragment.columns, fragment.columns[c.VALID]
        check_layout(columns, *valid.shape)
        assert fragment.num_env_steps == valid.sum() >= ROWS * len(LENGTHS)
        assert not columns[c.state_in(0)].any() and fragment.state_out[0].shape == (
            len(valid[0]),
            2,
        )
        obs = columns.get(c.OBS)
        if stack > 1:
            obs = stack_frames_numpy(columns[c.FRAMES], columns[c.AGE], stack)
        for b in range(valid.shape[1]):
            rows = int(valid[:, b].sum())
            assert valid[:rows, b].all() and (columns[c.AGE][rows + 1 :, b] > 0).all()
            np.testing.assert_array_equal(columns["count"][: rows + 1, b], np.arange(rows + 1))
            told = [name for name in columns if c.axes_of(name) is not c.Axes.B]
            own = {name: columns[name][: rows + 1, b] for name in told}
            env = int(obs[0, b].reshape(-1)[0])
            seen[env].append({**own, c.OBS: obs[: rows + 1, b]})
    for env, lengths in enumerate(LENGTHS):
        for episode, told in zip(episodes_of(env, lengths, 5), seen[env], strict=False):
            for i, name in enumerate((c.AGE, c.REWARDS, c.TERMINATEDS, c.TRUNCATEDS, c.VALID), 1):
                np.testing.assert_array_equal(told[name], [row[i] for row in episode])
            if stack == 1:
                np.testing.assert_array_equal(told[c.OBS], [row[0] for row in episode])
        assert len(seen[env]) >= 5


def test_long_episodes_say_that_they_go_on_and_tell_the_version_they_began_with() -> None:
    beats, policy = [], ShownPolicy()
    collector = EpisodeCollector(
        counting_vector([[9], [2]], "next_step"), policy, 2, beat=lambda: beats.append(0)
    )
    first = collector.collect()
    assert first.policy_version == 7 and len(beats) >= 2
    policy.version = 8
    versions = [collector.collect().policy_version for _ in range(4)]
    assert versions[0] == 7, "an episode was under way"
    assert versions[-1] == 8


def test_advantages_of_a_whole_episode_see_its_real_end() -> None:
    """With lambda 1 a value target is the sum of the rewards to the end, where it terminates."""
    vector = make_vector(CountingEnv, {"lengths": [7, 4]}, 3)
    policy = ActorCriticPolicy(vector.observation_space, Discrete(2))
    fragment = EpisodeCollector(vector, policy, 8).collect()
    add_advantages(fragment, policy, 1.0, 1.0, False)
    columns = fragment.columns
    to_go = np.cumsum(columns[c.REWARDS][::-1], axis=0)[::-1]
    valid = columns[c.VALID]
    np.testing.assert_allclose(columns[c.VALUE_TARGETS][valid], to_go[valid], rtol=1e-4)
    vector.close()


def test_agents_lives_are_whole_too() -> None:
    vector = MultiAgentVector(Steady, [EnvContext({}, 1, i) for i in range(2)], seed=0)
    collector = MultiAgentCollector(
        vector, Knowers("p"), lambda *_: "p", {"p": SPACE}, 3, whole_episodes=True
    )
    for _ in range(3):
        fragment = collector.collect()
        columns = fragment.groups["p"]
        valid = columns[c.VALID]
        check_layout(columns, *valid.shape)
        assert fragment.num_env_steps == sum(e.length for e in fragment.episodes) >= 6
        assert not columns[c.state_in(0)].any()
        assert fragment.policy_version == 1
        for b in range(valid.shape[1]):
            ends = np.flatnonzero(columns[c.TERMINATEDS][:, b] | columns[c.TRUNCATEDS][:, b])
            assert valid[:, b].sum() == 10 * len(ends) > 0, "ten steps each"
            assert (columns[c.AGE][:-1, b][valid[:, b]] == [*range(10)] * len(ends)).all()


def test_agents_long_lives_say_that_they_go_on_and_with_which_version_they_began() -> None:
    vector = MultiAgentVector(Steady, [EnvContext({}, 1, i) for i in range(2)], seed=0)
    beats, policies = [], Knowers("p")
    collector = MultiAgentCollector(
        vector, policies, lambda *_: "p", {"p": SPACE}, 3, whole_episodes=True,
        beat=lambda: beats.append(0),
    )  # fmt: skip
    assert collector.collect().policy_version == 1
    assert len(beats) >= 10, "an episode's steps"
    policies.version = 2
    versions = [collector.collect().policy_version for _ in range(3)]
    assert versions[-1] == 2
    vector.envs[0].t = 5  # the two take turns from now on: one is under way when the other ends
    collector.collect()
    policies.version = 3
    versions = [collector.collect().policy_version for _ in range(3)]
    assert versions[0] == 2, "an episode was under way"
    assert versions[-1] == 3
