import numpy as np

from actorrl.data.frame_stack import final_stacks, stack_frames_numpy, stack_size


def test_an_episodes_first_frame_repeats_and_nothing_older_is_seen():
    # One environment, k = 3: lead-in frames 8 and 9, then rows with frames 10..14.
    frames = np.arange(8, 15, dtype=np.uint8).reshape(7, 1, 1, 1)
    age = np.array([[5], [0], [1], [2], [3]], np.int32)
    stacks = stack_frames_numpy(frames, age, 3)
    assert stacks.shape == (5, 1, 3, 1, 1)
    assert stacks[:, 0, :, 0, 0].tolist() == [
        [8, 9, 10],
        [11, 11, 11],
        [11, 11, 12],
        [11, 12, 13],
        [12, 13, 14],
    ]


def test_a_final_frame_lies_on_those_that_its_last_row_saw():
    # As above, and beside it an environment whose frames are 100 more.
    frames = np.arange(8, 15).reshape(7, 1, 1, 1) + 100 * np.arange(2).reshape(1, 2, 1, 1)
    age = np.tile(np.array([[5], [0], [1], [2], [3]], np.int32), 2)
    last = np.array([0 * 2, 1 * 2 + 1, 3 * 2])  # row 0, row 1 of the second, row 3
    stacks = final_stacks(frames, age, last, np.array([50, 51, 52]).reshape(3, 1, 1))
    assert stacks[:, :, 0, 0].tolist() == [[9, 10, 50], [111, 111, 51], [12, 13, 52]]


def test_the_stack_size_follows_from_the_lengths_of_the_columns():
    assert stack_size(num_frames=4 - 1 + 11, num_ages=11) == 4
