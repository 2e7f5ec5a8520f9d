"""An environment that fails inside a vector is made anew alone, and its row is no transition."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorrl.algorithms.a2c import A2CConfig
from actorrl.data import columns as c
from actorrl.envs.python_vector import PythonVector
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import make_vector
from actorrl.errors import EnvironmentFailure
from actorrl.rollouts.callbacks import DefaultCallbacks
from actorrl.rollouts.collector import Collector
from actorrl.rollouts.complete_episodes import EpisodeCollector
from actorrl.rollouts.postprocess import NStep
from actorrl.rollouts.watching import introduce
from actorrl.rollouts.whole_episodes import WholeEpisodes
from actorrl.testing.probe_envs import reward_of
from tests.rollouts.conftest import ShownPolicy


class Breaking(gym.Env):
    """Observation and reward say which life, episode and step it is; breaks as `plan` says.

    plan[(environment, life)] = the step (counted over the life) that raises; 0 raises in the first
    reset. A life ends there; `lengths` are those of its episodes.
    """

    plan: dict = {}
    lives: dict = {}
    lengths = (4, 2, 7)

    def __init__(self, context: EnvContext) -> None:
        self.index = context.vector_index
        self.life = self.lives.get(self.index, -1) + 1
        self.lives[self.index] = self.life
        self.breaks_at = self.plan.get((self.index, self.life))
        self.observation_space = gym.spaces.Box(0.0, np.inf, (4,), np.float32)
        self.action_space = gym.spaces.Discrete(3)
        self.episode, self.t, self.total = -1, 0, 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.breaks_at == 0:
            raise RuntimeError("no map")
        self.episode, self.t = self.episode + 1, 0
        return self._obs(), {}

    def step(self, action):
        self.total += 1
        if self.total == self.breaks_at:
            raise KeyError("lost")
        self.t += 1
        ended = self.t == self.lengths[self.episode % len(self.lengths)]
        return self._obs(), self._reward(), ended, False, {}

    def close(self):
        raise OSError("it is broken")

    def _obs(self):
        return np.array([self.index, self.life, self.episode, self.t], np.float32)

    def _reward(self):
        return reward_of(self.index, 10 * self.life + self.episode, self.t)


def breaking(plan, num_envs=2, **options):
    Breaking.plan, Breaking.lives = plan, {}
    return make_vector(Breaking, {}, num_envs, seed=3, **{"recreate_failed": True, **options})


def test_without_the_setting_the_failure_is_raised():
    vector = breaking({(1, 0): 2}, recreate_failed=False)
    vector.reset()
    vector.step(np.zeros(2, np.int64))
    with pytest.raises(EnvironmentFailure, match=r"environment 1.* failed in step: KeyError"):
        vector.step(np.zeros(2, np.int64))


def test_the_one_that_fails_is_made_anew_and_the_others_never_noticed():
    vector = breaking({(1, 0): 2})
    vector.reset()
    vector.step(np.zeros(2, np.int64))
    result = vector.step(np.zeros(2, np.int64))
    assert result.broken_envs.tolist() == [1]
    np.testing.assert_array_equal(result.obs, [[0, 0, 0, 2], [1, 1, 0, 0]])
    assert result.rewards[1] == 0 and not result.terminateds[1] and not result.truncateds[1]
    assert vector.num_recreated == 1 and "KeyError" in vector.last_failure
    assert vector.step(np.zeros(2, np.int64)).broken_envs is None


def test_callbacks_hear_of_the_new_one_as_of_the_first_ones():
    heard = []

    class Hearing(DefaultCallbacks):
        def on_environment_created(self, *, env, env_context, env_index, **kwargs):
            heard.append((env.index, env.life, env_context.vector_index, env_index))

    vector = breaking({(1, 0): 2})
    introduce(Hearing(), vector, None)
    vector.reset()
    for _ in range(2):
        vector.step(np.zeros(2, np.int64))
    assert heard == [(0, 0, 0, 0), (1, 0, 1, 1), (1, 1, 1, 1)]


def test_a_reset_that_fails_is_tried_with_a_new_one():
    vector = breaking({(0, 0): 0})
    np.testing.assert_array_equal(vector.reset(), [[0, 1, 0, 0], [1, 0, 0, 0]])
    assert vector.num_recreated == 1


@pytest.mark.parametrize("breaks_at", [0, 1])
def test_one_that_fails_again_and_again_is_given_up(breaks_at):
    vector = breaking({(1, life): breaks_at for life in range(100)})
    with pytest.raises(EnvironmentFailure, match="environment 1"):
        vector.reset()
        for _ in range(10):
            vector.step(np.zeros(2, np.int64))
    assert vector.num_recreated == 3


def test_its_successor_does_not_repeat_its_episodes():
    seeds = []

    class Seeded(Breaking):
        def reset(self, *, seed=None, options=None):
            seeds.append(seed)
            return super().reset(seed=seed)

    Breaking.plan, Breaking.lives = {(0, 0): 1, (0, 1): 2}, {}
    vector = make_vector(Seeded, {}, 1, seed=3, recreate_failed=True)
    vector.reset()
    for _ in range(4):
        vector.step(np.zeros(1, np.int64))
    assert len(set(seeds)) == len(seeds) == 3 and None not in seeds


def test_where_each_row_is_a_decision_a_broken_one_has_no_place():
    (line,) = A2CConfig(autoreset="same_step", recreate_failed_envs=True).validate()
    assert line.startswith("recreate_failed_envs: true together with autoreset same_step")


def test_environments_with_a_vectoriser_of_their_own_are_stepped_by_our_loop():
    assert isinstance(make_vector("CartPole-v1", {}, 2, recreate_failed=True), PythonVector)
    atari = make_vector("ALE/Pong-v5", {}, 1, recreate_failed=True)
    assert isinstance(atari, PythonVector) and atari.frame_stack == 4


# ---- what fragments tell of it ------------------------------------------------------------------

PLANS = st.dictionaries(
    st.tuples(st.integers(0, 1), st.integers(0, 3)), st.integers(1, 15), max_size=6
)


def lived(fragments):
    """Per environment the rows of its fragments: obs, obs after, reward, flags, valid."""
    for env in range(2):
        yield [
            (
                tuple(f.columns[c.OBS][t, env].astype(int)),
                tuple(f.columns[c.OBS][t + 1, env].astype(int)),
                float(f.columns[c.REWARDS][t, env]),
                bool(f.columns[c.TERMINATEDS][t, env]),
                bool(f.columns[c.TRUNCATEDS][t, env]),
                bool(f.columns[c.VALID][t, env]),
                int(f.columns[c.AGE][t, env]),
            )
            for f in fragments
            for t in range(len(f.columns[c.VALID]))
        ]


def collected(plan, rows, policy=None):
    collector = Collector(breaking(plan), policy or ShownPolicy(), rows)
    return [collector.collect() for _ in range(max(2, 40 // rows))]


@settings(max_examples=60, deadline=None)
@given(plan=PLANS, rows=st.sampled_from([1, 2, 3, 5, 16]))
def test_no_row_joins_two_lives_and_every_transition_is_there_once(plan, rows):
    for env, told in enumerate(lived(collected(plan, rows))):
        seen = set()
        for place, (obs, after, reward, terminated, truncated, valid, age) in enumerate(told):
            assert age == obs[3], "the frame stack and the LSTM's state start anew"
            if not valid:
                assert reward == 0 and not terminated and not truncated and after[3] == 0
                continue
            assert after == (*obs[:3], obs[3] + 1), "no leak from one life into the next"
            assert reward == reward_of(env, 10 * obs[1] + obs[2], after[3])
            assert obs not in seen
            seen.add(obs)
            cut = place + 1 < len(told) and not told[place + 1][5] and not terminated
            in_this_fragment = (place + 1) % rows != 0
            if in_this_fragment:
                assert truncated == cut, "told as a truncation where the episode broke"


@settings(max_examples=60, deadline=None)
@given(plan=PLANS, rows=st.sampled_from([1, 3, 5, 16]))
def test_an_episode_that_broke_has_no_result(plan, rows):
    fragments = collected(plan, rows)
    for env, told in enumerate(lived(fragments)):
        results = [e for f in fragments for e in f.episodes if e.env_index == env]
        whole = [(obs[1], obs[2]) for obs, *_, terminated, _, _, _ in told if terminated]
        assert [e.length for e in results] == [Breaking.lengths[n % 3] for _, n in whole]
        for (life, episode), result in zip(whole, results, strict=True):
            steps = range(1, result.length + 1)
            wanted = sum(reward_of(env, 10 * life + episode, step) for step in steps)
            assert result.episode_return == pytest.approx(wanted)


@settings(max_examples=60, deadline=None)
@given(plan=PLANS, rows=st.sampled_from([1, 3, 5, 16]))
def test_no_return_spans_a_failure(plan, rows):
    """An episode that broke counts as if it had been truncated, wherever the fragment began."""
    whole, seen = WholeEpisodes(0.9), {}
    for fragment in collected(plan, rows, ShownPolicy(recurrent=False)):
        out = whole.add(fragment)
        for obs, value in zip(out[c.OBS].astype(int).tolist(), out[c.ADVANTAGES], strict=True):
            episode = seen.setdefault(tuple(obs[:3]), {})
            assert obs[3] == len(episode), "each row once, in the order of time"
            episode[obs[3]] = value
    for (env, life, number), values in seen.items():
        for step, value in values.items():
            rewards = [
                reward_of(env, 10 * life + number, after)
                for after in range(step + 1, len(values) + 1)
            ]
            wanted = sum(0.9**i * reward for i, reward in enumerate(rewards))
            assert value == pytest.approx(wanted, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(plan=PLANS, rows=st.sampled_from([1, 2, 5]))
def test_a_whole_episode_that_broke_ends_as_a_truncated_one(plan, rows):
    collector = EpisodeCollector(breaking(plan), ShownPolicy(), rows)
    for _ in range(6):
        columns = collector.collect().columns
        for b, count in enumerate(columns[c.VALID].sum(axis=0).tolist()):
            told = columns[c.OBS][: count + 1, b].astype(int)
            assert (told[:, :3] == told[0, :3]).all() and told[:, 3].tolist() == [*range(count + 1)]
            ends = columns[c.TERMINATEDS][:count, b], columns[c.TRUNCATEDS][:count, b]
            assert [*np.flatnonzero(ends[0] | ends[1])] == [count - 1]
            length = Breaking.lengths[told[0, 2] % 3]
            assert ends[0][-1] == (count == length) and not (ends[0] & ends[1]).any()


@settings(max_examples=60, deadline=None)
@given(plan=PLANS, rows=st.sampled_from([1, 3, 5, 16]), n=st.integers(1, 4), with_q=st.booleans())
def test_no_n_step_row_spans_a_failure(plan, rows, n, with_q):
    policy = ShownPolicy(recurrent=False, with_q_values=with_q)
    steps = NStep(n, 0.9, 2)
    given_out = set()
    for fragment in collected(plan, rows, policy):
        out = steps.add(fragment.columns)
        for obs, after, reward, discount in zip(
            out[c.OBS].astype(int),
            out[c.NEXT_OBS].astype(int),
            out[c.REWARDS],
            out[c.DISCOUNTS],
            strict=True,
        ):
            assert tuple(obs) not in given_out
            given_out.add(tuple(obs))
            env, life, episode, step = obs
            m = after[3] - step
            assert tuple(after[:3]) == (env, life, episode) or discount == 0
            if discount == 0:
                m = Breaking.lengths[episode % 3] - step
            else:
                assert discount == pytest.approx(0.9**m) and 1 <= m <= n
            wanted = sum(
                0.9**i * reward_of(env, 10 * life + episode, step + 1 + i) for i in range(m)
            )
            assert reward == pytest.approx(wanted, rel=1e-5)
