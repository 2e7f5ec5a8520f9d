import gymnasium as gym
import numpy as np
import pytest

from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.data.sample_batch import MultiAgentBatch, SampleBatch, concat_samples


def batch(first, count, episode):
    return SampleBatch(
        {
            c.OBS: np.arange(first, first + count),
            c.REWARDS: np.ones(count),
            c.EPS_ID: np.full(count, episode),
        }
    )


def column(*rows):
    return np.array(rows).T  # one argument per environment


def next_step_fragment():
    """Two environments, five rows. The first ends an episode at row 1, so its row 2 only resets."""
    obs = column([10, 11, 12, 20, 21, 22], [50, 51, 52, 53, 54, 55])
    return Fragment(
        {
            "default_policy": {
                c.OBS: obs,
                c.AGE: column([3, 4, 5, 0, 1, 2], [0, 1, 2, 3, 4, 5]).astype(np.int32),
                c.ACTIONS: obs[:-1] % 3,
                c.REWARDS: np.ones((5, 2), np.float32),
                c.TERMINATEDS: column([0, 1, 0, 0, 0], [0] * 5).astype(bool),
                c.TRUNCATEDS: np.zeros((5, 2), bool),
                c.VALID: column([1, 1, 0, 1, 1], [1] * 5).astype(bool),
                c.state_in(0): np.array([[7.0], [8.0]]),
            }
        },
        num_env_steps=9,
        policy_version=0,
    )


def test_the_flat_view_drops_rows_that_are_no_decision_and_keeps_episodes_apart():
    flat = SampleBatch.from_fragment(next_step_fragment())
    assert flat.count == len(flat) == 9
    assert flat[c.OBS].tolist() == [10, 11, 20, 21, 50, 51, 52, 53, 54]
    assert flat[c.NEXT_OBS].tolist() == [11, 12, 21, 22, 51, 52, 53, 54, 55]
    assert flat[c.EPS_ID].tolist() == [0, 0, 1, 1, 2, 2, 2, 2, 2]
    assert flat[c.ENV_ID].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert flat.seq_lens.tolist() == [2, 2, 5]
    assert flat[c.state_in(0)].tolist() == [[7.0], [0.0], [8.0]]
    assert c.VALID not in flat and c.AGE not in flat


def test_sequence_lengths_are_found_by_their_name_and_are_no_column():
    flat = SampleBatch.from_fragment(next_step_fragment())
    assert flat[SampleBatch.SEQ_LENS].tolist() == [2, 2, 5] == flat.get("seq_lens").tolist()
    assert SampleBatch.SEQ_LENS in flat and SampleBatch.SEQ_LENS not in list(flat)
    cut = flat.slice(0, 2)
    assert cut[SampleBatch.SEQ_LENS].tolist() == [2]
    without = SampleBatch({c.OBS: np.zeros(3)})
    assert SampleBatch.SEQ_LENS not in without and without.get("seq_lens") is None
    with pytest.raises(KeyError, match="seq_lens"):
        without[SampleBatch.SEQ_LENS]


def test_a_fragment_that_starts_with_the_row_of_a_reset_has_no_empty_piece():
    fragment = next_step_fragment()
    group = {
        name: array if c.is_state_in(name) else array[2:]
        for name, array in fragment.columns.items()
    }
    flat = SampleBatch.from_fragment(Fragment({"default_policy": group}, 5, 0))
    assert flat[c.OBS].tolist() == [20, 21, 52, 53, 54]
    assert flat[c.EPS_ID].tolist() == [0, 0, 1, 1, 1]
    assert flat.seq_lens.tolist() == [2, 3]
    assert flat[c.state_in(0)].tolist() == [[0.0], [8.0]]


def test_the_last_piece_may_be_without_a_row():
    fragment = next_step_fragment()
    fragment.columns[c.VALID][:, 1] = False
    flat = SampleBatch.from_fragment(fragment)
    assert flat.seq_lens.tolist() == [2, 2]
    assert flat[c.state_in(0)].tolist() == [[7.0], [0.0]]


def test_under_same_step_the_final_observation_follows_the_last_row():
    group = {
        c.OBS: column([10, 11, 20, 21]),
        c.AGE: column([0, 1, 0, 1]).astype(np.int32),
        c.REWARDS: np.ones((3, 1), np.float32),
        c.VALID: np.ones((3, 1), bool),
        c.FINAL_OBS: np.array([12]),
        c.FINAL_ROWS: np.array([1]),
    }
    flat = SampleBatch.from_fragment(Fragment({"default_policy": group}, 3, 0))
    assert flat[c.NEXT_OBS].tolist() == [11, 12, 21]
    assert flat[c.EPS_ID].tolist() == [0, 0, 1]
    assert group[c.OBS][2, 0] == 20, "the fragment is as it was"


def test_frames_come_out_as_stacks_in_both_autoreset_modes():
    frames = np.array([8, 9, 10, 11, 20, 21], np.uint8).reshape(6, 1, 1, 1)  # k = 3
    group = {
        c.FRAMES: frames,
        c.AGE: column([2, 3, 0, 1]).astype(np.int32),
        c.VALID: np.ones((3, 1), bool),
        c.FINAL_OBS: np.array([12], np.uint8).reshape(1, 1, 1),
        c.FINAL_ROWS: np.array([1]),
    }
    flat = SampleBatch.from_fragment(Fragment({"default_policy": group}, 3, 0))
    assert flat[c.OBS].reshape(3, 3).tolist() == [[8, 9, 10], [9, 10, 11], [20, 20, 20]]
    assert flat[c.NEXT_OBS].reshape(3, 3).tolist() == [[9, 10, 11], [10, 11, 12], [20, 20, 21]]


def test_a_final_stack_of_a_short_episode_repeats_its_first_frame():
    group = {
        c.FRAMES: np.array([1, 2, 3, 10, 20], np.uint8).reshape(5, 1, 1, 1),  # k = 4
        c.AGE: column([0, 0]).astype(np.int32),
        c.VALID: np.ones((1, 1), bool),
        c.FINAL_OBS: np.array([11], np.uint8).reshape(1, 1, 1),
        c.FINAL_ROWS: np.array([0]),
    }
    flat = SampleBatch.from_fragment(Fragment({"default_policy": group}, 1, 0))
    assert flat[c.NEXT_OBS].reshape(-1).tolist() == [10, 10, 10, 11]


def test_the_final_stack_is_gymnasiums():
    class Frames(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (1, 1), np.uint8)
        action_space = gym.spaces.Discrete(1)

        def reset(self, *, seed=None, options=None):
            self.shown = 10
            return np.full((1, 1), self.shown, np.uint8), {}

        def step(self, action):
            self.shown += 1
            return np.full((1, 1), self.shown, np.uint8), 0.0, False, False, {}

    env = gym.wrappers.FrameStackObservation(Frames(), 4, padding_type="reset")
    env.reset()
    assert env.step(0)[0].reshape(-1).tolist() == [10, 10, 10, 11]


def test_columns_must_be_equally_long():
    with pytest.raises(ValueError, match="column 'rewards'"):
        SampleBatch({c.OBS: np.zeros(3), c.REWARDS: np.zeros(2)})
    with pytest.raises(ValueError, match="seq_lens"):
        SampleBatch({c.OBS: np.zeros(3)}, seq_lens=[1, 1])


def test_joining_keeps_order_and_tells_episodes_apart():
    joined = concat_samples([batch(0, 2, 0), SampleBatch(), batch(5, 3, 0)])
    assert joined[c.OBS].tolist() == [0, 1, 5, 6, 7]
    assert joined[c.EPS_ID].tolist() == [0, 0, 1, 1, 1]
    assert [part.count for part in joined.split_by_episode()] == [2, 3]
    assert concat_samples([]).count == 0
    with pytest.raises(ValueError, match="new_obs"):
        concat_samples([batch(0, 2, 0), SampleBatch({**batch(0, 1, 0), c.NEXT_OBS: np.ones(1)})])


def test_slices_cut_sequences_only_where_there_is_no_state():
    flat = SampleBatch.from_fragment(next_step_fragment())
    part = flat.slice(2, 9)
    assert part.seq_lens.tolist() == [2, 5]
    assert part[c.state_in(0)].tolist() == [[0.0], [8.0]]
    with pytest.raises(ValueError, match="cut a recurrent sequence"):
        flat.slice(1, 4)
    del flat[c.state_in(0)]
    assert flat.slice(1, 5).seq_lens.tolist() == [1, 2, 1]
    assert flat.slice(7, 100).count == 2
    assert flat.slice(4, 2).count == 0
    assert [part.count for part in flat.split_by_episode()] == [2, 2, 5]


def test_shuffling_permutes_whole_rows():
    shuffled = batch(0, 50, 0)
    shuffled[c.REWARDS] = shuffled[c.OBS] * 2.0
    shuffled.shuffle(seed=1)
    assert shuffled[c.OBS].tolist() != list(range(50))
    assert sorted(shuffled[c.OBS]) == list(range(50))
    np.testing.assert_array_equal(shuffled[c.REWARDS], shuffled[c.OBS] * 2.0)


def test_a_copy_shares_nothing():
    original = batch(0, 3, 0)
    copy = original.copy()
    copy[c.OBS][:] = 9
    assert original[c.OBS].tolist() == [0, 1, 2]


def test_rows_are_dicts_of_single_values():
    rows = list(batch(4, 2, 0).rows())
    assert [row[c.OBS] for row in rows] == [4, 5]


def test_a_multi_agent_batch_counts_env_steps_once():
    both = MultiAgentBatch({"a": batch(0, 3, 0), "b": batch(0, 4, 0)}, env_steps=4)
    assert both.count == both.env_steps() == 4
    assert both.agent_steps() == 7
    only = batch(0, 3, 0)
    assert MultiAgentBatch.wrap_as_needed({"default_policy": only}, 3) is only


def test_a_summary_says_what_is_in_each_column():
    batch = SampleBatch(
        obs=np.array([[1.0, 2.0], [3.0, 5.0]], np.float32), infos=np.array([{}, {}], object)
    )
    assert repr(batch) == (
        "SampleBatch({ 'infos': np.ndarray((2,), dtype=object, head={}),\n"
        "  'obs': np.ndarray((2, 2), dtype=float32, min=1.0, max=5.0, mean=2.75)})"
    )
    assert batch.size_bytes() == 4 * 4 + 2 * 8


def test_slices_and_time_slices_hold_every_row_once():
    batch = SampleBatch(a=np.arange(10), b=np.arange(10) * 2)
    assert batch[2:4]["a"].tolist() == [2, 3] and batch["a"][2] == 2
    assert [len(piece) for piece in batch.timeslices(4)] == [4, 4, 2]
    assert len(batch.concat(batch)) == len(SampleBatch.concat_samples([batch, batch])) == 20
    with pytest.raises(ValueError, match="steps of 1"):
        batch[::2]


def test_time_slices_never_cut_recurrent_sequences():
    batch = SampleBatch(a=np.arange(10), state_in_0=np.zeros((4, 2)), seq_lens=[2, 3, 4, 1])
    pieces = batch.timeslices(4)
    assert [piece["a"].tolist() for piece in pieces] == [[0, 1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert [len(piece["state_in_0"]) for piece in pieces] == [2, 1, 1]
    with pytest.raises(ValueError, match="recurrent"):
        batch.shuffle()


def test_batches_of_several_policies_are_joined_policy_by_policy():
    one = MultiAgentBatch({"x": SampleBatch(a=[1, 2])}, 2)
    two = MultiAgentBatch({"x": SampleBatch(a=[3]), "y": SampleBatch(a=[4])}, 1)
    joined = MultiAgentBatch.concat_samples([one, two])
    assert joined.env_steps() == 3 and joined.agent_steps() == 4
    assert joined.policy_batches["x"]["a"].tolist() == [1, 2, 3]
    assert joined.as_multi_agent() is joined
    single = SampleBatch(a=[1]).as_multi_agent()
    assert single.policy_batches["default_policy"]["a"].tolist() == [1]
