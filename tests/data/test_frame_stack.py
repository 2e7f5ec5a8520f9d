import numpy as np

from actorrl.data.frame_stack import stack_frames_numpy, stack_size


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


def test_the_stack_size_follows_from_the_lengths_of_the_columns():
    assert stack_size(num_frames=4 - 1 + 11, num_ages=11) == 4
