import re
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorrl.data import columns as c
from actorrl.data.frame_stack import stack_frames_numpy
from actorrl.envs.native_vector import NativeVector
from actorrl.envs.vector import make_vector
from actorrl.errors import EnvironmentFailure
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.rollouts.collector import Collector
from actorrl.testing.probe_envs import reward_of
from tests.rollouts.conftest import ShownPolicy, counting_vector
from tests.rollouts.layouts import check_layout

MODES = ("next_step", "same_step")
ROWS = (1, 3, 10, 11, 64)
LENGTHS = st.lists(
    st.lists(st.integers(1, 9).flatmap(lambda n: st.sampled_from([n, -n])), min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)
PROPERTY = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def timeline(env, lengths, mode, num_rows):
    """Slow and plain: per row (obs, age, reward, terminated, truncated, valid, obs after it)."""
    episode, step, rows, waiting = 0, 0, [], False
    while len(rows) < num_rows:
        obs = (env, episode, step)
        if waiting:  # NEXT_STEP: this row only resets
            rows.append((obs, step, 0.0, False, False, False, (env, episode + 1, 0)))
            episode, step, waiting = episode + 1, 0, False
            continue
        signed = lengths[episode % len(lengths)]
        step += 1
        ended = step == abs(signed)
        reward = reward_of(env, episode, step)
        after = (env, episode, step)
        rows.append(
            (obs, step - 1, reward, ended and signed > 0, ended and signed < 0, True, after)
        )
        if ended and mode == "next_step":
            waiting = True
        elif ended:
            episode, step = episode + 1, 0
    return rows


def joined(fragments, name):
    """[T, B] columns of successive fragments, one after the other."""
    return np.concatenate([f.columns[name][: len(f.columns[c.VALID])] for f in fragments])


@PROPERTY
@given(
    lengths=LENGTHS,
    mode=st.sampled_from(MODES),
    rows=st.sampled_from(ROWS),
    recurrent=st.booleans(),
)
def test_fragments_tell_the_run_of_each_environment_row_by_row(
    make_collector, lengths, mode, rows, recurrent
):
    """With a state rows are looked at one by one, else all at once."""
    collector = make_collector(lengths, mode, rows, ShownPolicy(recurrent))
    fragments = [collector.collect() for _ in range(max(2, 40 // rows))]
    for fragment in fragments:
        check_layout(fragment.columns, rows, len(lengths))
    total = rows * len(fragments)
    for b, own in enumerate(lengths):
        expected = timeline(b, own, mode, total)
        for i, name in enumerate((c.OBS, c.AGE, c.REWARDS, c.TERMINATEDS, c.TRUNCATEDS, c.VALID)):
            np.testing.assert_array_equal(joined(fragments, name)[:, b], [r[i] for r in expected])
    assert sum(f.num_env_steps for f in fragments) == int(joined(fragments, c.VALID).sum())
    assert all(f.num_env_steps + f.num_resets == rows * len(lengths) for f in fragments)
    assert collector.num_steps_total == int(joined(fragments, c.VALID).sum())


@PROPERTY
@given(lengths=LENGTHS, mode=st.sampled_from(MODES), rows=st.sampled_from(ROWS))
def test_the_observation_after_each_decision_is_known(make_collector, lengths, mode, rows):
    collector = make_collector(lengths, mode, rows)
    fragments = [collector.collect() for _ in range(max(2, 30 // rows))]
    after = []
    for fragment in fragments:
        columns = fragment.columns
        obs_after = columns[c.OBS][1:].copy()
        if mode == "same_step":
            flat = obs_after.reshape(-1, *obs_after.shape[2:])
            flat[columns[c.FINAL_ROWS]] = columns[c.FINAL_OBS]
            ended = columns[c.TERMINATEDS] | columns[c.TRUNCATEDS]
            np.testing.assert_array_equal(columns[c.FINAL_ROWS], np.flatnonzero(ended))
        after.append(obs_after)
    after = np.concatenate(after)
    for b, own in enumerate(lengths):
        expected = [row[6] for row in timeline(b, own, mode, len(after))]
        np.testing.assert_array_equal(after[:, b], expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", ROWS)
def test_recurrent_state_is_zero_at_each_first_observation_and_carries_over(
    make_collector, mode, rows
):
    collector = make_collector([[4, -2, 7], [1, -5]], mode, rows)
    for _ in range(max(3, 40 // rows)):
        columns = collector.collect().columns
        # The policy counts since its last zero state, so it must count what `age` says.
        np.testing.assert_array_equal(columns["count"], columns[c.AGE][:-1])
        np.testing.assert_array_equal(columns[c.state_in(0)][:, 0], columns[c.AGE][0])


def test_fragments_never_share_memory_with_each_other(make_collector):
    for mode in MODES:
        collector = make_collector([[4, -2], [3]], mode, 5)
        fragments = [collector.collect() for _ in range(3)]
        arrays = [a for f in fragments for a in f.columns.values() if a.size]
        copies = [a.copy() for a in arrays]
        collector.collect()
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(array, copies[i])
            assert not any(np.shares_memory(array, other) for other in arrays[i + 1 :])


def test_a_receiver_that_writes_to_a_fragment_disturbs_nothing(make_collector):
    spoiled, clean = (make_collector([[4, -2], [3]], "next_step", 3) for _ in range(2))
    for _ in range(4):
        ours, theirs = clean.collect().columns, spoiled.collect().columns
        for name, column in ours.items():
            np.testing.assert_array_equal(column, theirs[name])
            theirs[name][:] = 1


def test_terminated_wins_where_both_flags_are_set():
    class Both(gym.Env):
        observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
        action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return np.zeros(1, np.float32), {}

        def step(self, action):
            return np.zeros(1, np.float32), 1.0, True, True, {}

    policy = NoMemory()
    columns = Collector(make_vector(Both, {}, 2), policy, 4).collect().columns
    np.testing.assert_array_equal(columns[c.TERMINATEDS][:, 0], [True, False, True, False])
    assert not columns[c.TRUNCATEDS].any()


def test_episodes_are_named_by_their_global_index_and_sum_over_fragments(make_collector):
    for rows in ROWS:
        for mode in MODES:
            collector = make_collector([[4, -2], [3]], mode, rows)
            episodes = [e for _ in range(64 // rows + 1) for e in collector.collect().episodes]
            for b, own in ((0, [4, -2]), (1, [3])):
                mine = [e for e in episodes if e.env_index == 10 + b]
                assert len(mine) >= 10
                for p, episode in enumerate(mine):
                    length = abs(own[p % len(own)])
                    assert episode.length == length
                    rewards = [reward_of(b, p, s) for s in range(1, length + 1)]
                    assert episode.episode_return == pytest.approx(sum(rewards), abs=1e-12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("k", [2, 4])
def test_stacks_are_those_of_gymnasiums_wrapper(make_collector, make_policy, mode, rows, k):
    policy = make_policy(recurrent=False)
    lengths = [[4, -2, 7], [1, -5]]
    collector = make_collector(lengths, mode, rows, policy, frames=True, frame_stack=k)
    fragments = [collector.collect() for _ in range(max(3, 40 // rows))]
    shown = np.stack(policy.shown)  # [T, B, k, H, W], as the policy saw them
    stacked = [stack_frames_numpy(f.columns[c.FRAMES], f.columns[c.AGE], k)[:-1] for f in fragments]
    np.testing.assert_array_equal(np.concatenate(stacked), shown)
    for b in range(2):
        expected = wrapped_stacks(
            joined_frames(fragments, k)[:, b], joined(fragments, c.AGE)[:, b], k
        )
        np.testing.assert_array_equal(shown[:, b], expected)


def joined_frames(fragments, k):
    return np.concatenate([f.columns[c.FRAMES][k - 1 : -1] for f in fragments])


class Replay(gym.Env):
    """Gives recorded frames [T, H, W] back; a reset takes the next one like a step does."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, frames):
        self.frames = iter(frames)
        self.observation_space = gym.spaces.Box(0, 255, frames.shape[1:], np.uint8)

    def reset(self, *, seed=None, options=None):
        return next(self.frames), {}

    def step(self, action):
        return next(self.frames), 0.0, False, False, {}


def wrapped_stacks(frames, age, k):
    """What Gymnasium makes of the same frames, [T, k, H, W]."""
    env = gym.wrappers.FrameStackObservation(Replay(frames), k, padding_type="reset")
    return np.stack([env.reset()[0] if a == 0 else env.step(0)[0] for a in age])


class NoMemory:
    version = 0

    def __init__(self, num_actions=2):
        self.random = np.random.default_rng(1)
        self.num_actions = num_actions
        self.shown = []

    def initial_state(self, num_envs):
        return ()

    def act(self, obs, state, explore):
        self.shown.append(obs.copy())
        actions = self.random.integers(0, self.num_actions, len(obs))
        return SimpleNamespace(actions=actions, extras={}, state=())

    def env_actions(self, actions):
        return actions


@pytest.mark.parametrize("mode", MODES)
def test_stacks_of_pong_are_bit_equal_to_gymnasiums_over_the_same_emulator_frames(mode):
    pytest.importorskip("ale_py")
    # Sticky actions and random idling as registered; truncations after 20 decisions.
    vector = make_vector(
        "ALE/Pong-v5", {"max_num_frames_per_episode": 80}, 3, seed=5, autoreset=mode
    )
    policy = NoMemory(6)
    collector = Collector(vector, policy, 11)
    fragments = [collector.collect() for _ in range(6)]
    vector.close()
    shown = np.stack(policy.shown)
    assert shown.shape == (66, 3, 4, 84, 84)
    assert (joined(fragments, c.AGE) == 0).sum() >= 9
    for b in range(3):
        expected = wrapped_stacks(
            joined_frames(fragments, 4)[:, b], joined(fragments, c.AGE)[:, b], 4
        )
        np.testing.assert_array_equal(shown[:, b], expected)


def test_cartpoles_own_vectoriser_marks_one_row_per_end_as_no_decision():
    vector = make_vector("CartPole-v1", {}, 4, seed=3)
    collector = Collector(vector, NoMemory(), 50)
    fragments = [collector.collect() for _ in range(4)]
    valid, age = joined(fragments, c.VALID), joined(fragments, c.AGE)
    ended = joined(fragments, c.TERMINATEDS) | joined(fragments, c.TRUNCATEDS)
    np.testing.assert_array_equal(~valid[1:], ended[:-1])
    np.testing.assert_array_equal(age[1:] == 0, ~valid[:-1])
    np.testing.assert_array_equal(joined(fragments, c.REWARDS), valid.astype(np.float32))
    first = joined(fragments, c.OBS)[age == 0]
    assert (np.abs(first) <= 0.05).all(), "a first observation is one of CartPole's start states"
    assert sum(len(f.episodes) for f in fragments) == ended.sum()


def test_the_same_seed_gives_the_same_fragments():
    def run(seed):
        return Collector(make_vector("CartPole-v1", {}, 2, seed=seed), NoMemory(), 30).collect()

    one, same, other = run(1), run(1), run(2)
    np.testing.assert_array_equal(one.columns[c.OBS], same.columns[c.OBS])
    assert (one.columns[c.OBS] != other.columns[c.OBS]).any()


@pytest.mark.parametrize("space", [gym.spaces.Discrete(2), gym.spaces.Box(-1.0, 1.0, (1,))])
@pytest.mark.parametrize(
    "unread",
    [{c.VF_PREDS}, {c.VF_PREDS, c.ACTION_DIST_INPUTS}, {c.ACTION_LOGP},
     {c.VF_PREDS, c.ACTION_DIST_INPUTS, c.ACTION_LOGP}],
)  # fmt: skip
def test_a_fragment_without_what_nobody_reads_is_the_same_in_all_else(space, unread):
    def fragments(unread):
        vector = make_vector("CartPole-v1", {}, 3, seed=4)
        policy = ActorCriticPolicy(vector.observation_space, space, seed=5)
        policy.env_actions = lambda actions: (actions.reshape(3) > 0).astype(np.int64)
        collector = Collector(vector, policy, 40)
        return [collector.collect(unread=frozenset(unread)).columns for _ in range(2)]

    for whole, part in zip(fragments(()), fragments(unread), strict=True):
        assert whole.keys() - part.keys() == unread
        for name, column in part.items():
            np.testing.assert_array_equal(column, whole[name], name)


def test_an_act_of_the_users_own_is_asked_for_every_row():
    class Own(ActorCriticPolicy):
        def act(self, obs, state=(), explore=True):
            acted = super().act(obs, state, explore)
            return acted._replace(actions=np.ones_like(acted.actions))

    vector = make_vector("CartPole-v1", {}, 3, seed=4)
    policy = Own(vector.observation_space, vector.action_space)
    columns = Collector(vector, policy, 5).collect(unread=frozenset({c.VF_PREDS})).columns
    assert (columns[c.ACTIONS] == 1).all() and c.VF_PREDS not in columns


class Still(ShownPolicy):
    def act(self, obs, state, explore):
        return SimpleNamespace(actions=np.zeros(len(obs), np.int64), extras={}, state=state)


@pytest.mark.parametrize("what", ["observation whose element [0] is nan", "reward inf"])
def test_what_is_no_number_in_a_vectoriser_of_theirs_is_refused(what):
    vector = make_vector("CartPole-v1", {}, 3, seed=0, worker_index=2)
    assert isinstance(vector, NativeVector)
    collector = Collector(vector, Still(), 4, worker_index=1)
    collector.collect()
    step = vector.env.step

    def broken(actions):
        obs, rewards, *rest = step(actions)
        array, value = (obs[:, 0], np.nan) if "nan" in what else (rewards, np.inf)
        array[2] = value
        return obs, rewards, *rest

    vector.env.step = broken
    with pytest.raises(EnvironmentFailure, match=re.escape(what)) as caught:
        collector.collect()
    assert "environment 2 of worker 2 failed in step" in str(caught.value)


@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("frames", [True, False])
def test_fragments_are_the_same_wherever_their_observations_are_put(make_collector, rows, frames):
    """Into fresh memory, always into the same, or into that of two slots in turn."""
    lengths = [[4, -2, 7], [1, -5]]
    stack = {"frames": frames, "frame_stack": 3 if frames else 1}
    memories: list[np.ndarray] = [np.empty(100_000, np.uint8) for _ in range(2)]
    for num_slots in (1, 2):
        fresh = make_collector(lengths, "next_step", rows, **stack)
        placed = make_collector(lengths, "next_step", rows, **stack)
        for number in range(8):

            def allocate(shape, dtype, memory=memories[number % num_slots]):
                nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
                return memory[:nbytes].view(dtype).reshape(shape)

            mine, theirs = fresh.collect().columns, placed.collect(allocate).columns
            name = c.FRAMES if frames else c.OBS
            assert np.shares_memory(theirs[name], memories[number % num_slots])
            for name in mine:
                np.testing.assert_array_equal(mine[name], theirs[name], name)


def test_frames_of_rows_before_are_led_in_without_changing_the_column():
    lengths, led, plain = [[4, -2, 7], [1, -5]], [], []
    for found, num_lead_in in ((led, 3), (plain, 0)):
        vector = counting_vector(lengths, "next_step", True, 4)
        collector = Collector(vector, ShownPolicy(), 2, num_lead_in=num_lead_in)
        found += [collector.collect() for _ in range(6)]
    for number, (fragment, expected) in enumerate(zip(led, plain, strict=True)):
        np.testing.assert_array_equal(fragment.columns[c.FRAMES], expected.columns[c.FRAMES])
        assert len(fragment.led_frames) == 3 + len(expected.columns[c.FRAMES])
        end = 4 + 2 * (number + 1)
        if end >= 9:
            np.testing.assert_array_equal(fragment.led_frames, joined_film(plain)[end - 9 : end])


def joined_film(fragments):
    """Every frame once, [4 + 2 n, B, H, W]."""
    first, *later = (fragment.columns[c.FRAMES] for fragment in fragments)
    return np.concatenate([first, *(frames[4:] for frames in later)])
