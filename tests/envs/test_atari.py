import numpy as np
import pytest

from actorrl.envs.atari import AtariConfig, AtariVector, emulation
from actorrl.envs.python_vector import PythonVector
from actorrl.envs.vector import make_vector

pytest.importorskip("ale_py")

# No chance: so that two emulators show the same. Truncated after 20 decisions.
SURE = {"noop_max": 0, "repeat_action_probability": 0.0, "max_num_frames_per_episode": 80}


def test_settings_come_from_the_registration_of_the_environment():
    settings = emulation("ALE/Pong-v5", AtariConfig())
    assert settings == (0.25, 4, False, 108_000)
    settings = emulation("ALE/Pong-v5", AtariConfig(repeat_action_probability=0.0, frameskip=2))
    assert settings == (0.0, 2, False, 108_000)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step"])
def test_frames_rewards_and_ends_are_those_of_gymnasiums_wrapper(autoreset):
    pytest.importorskip("cv2")
    ours = make_vector("ALE/Pong-v5", SURE, 2, seed=5, autoreset=autoreset)
    theirs = make_vector("ALE/Pong-v5", SURE, 2, seed=5, autoreset=autoreset, native=False)
    assert isinstance(ours, AtariVector) and isinstance(theirs, PythonVector)
    assert ours.frame_stack == theirs.frame_stack == 4
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    random = np.random.default_rng(0)
    ends = 0
    for _ in range(45):
        actions = random.integers(0, 6, 2)
        one, other = ours.step(actions), theirs.step(actions)
        for ours_array, theirs_array in zip(one, other, strict=True):
            assert (ours_array is None) == (theirs_array is None)
            if ours_array is not None:
                np.testing.assert_array_equal(ours_array, theirs_array)
                assert ours_array.dtype == theirs_array.dtype
        ends += int(one.truncateds.sum())
    assert ends == 4
    ours.close()
    theirs.close()


def test_rewards_are_not_clipped():
    config = {**SURE, "max_num_frames_per_episode": 4000}
    vector = make_vector("ALE/MsPacman-v5", config, 1, seed=0)
    vector.reset()
    assert max(float(vector.step(np.array([3])).rewards[0]) for _ in range(150)) >= 10
    vector.close()


def test_a_stack_of_one_is_an_observation_with_one_channel():
    for native in (True, False):
        vector = make_vector("ALE/Pong-v5", {"frame_stack": 1}, 2, seed=0, native=native)
        assert vector.frame_stack == 1
        assert vector.observation_space.shape == (1, 84, 84)
        assert vector.reset().shape == (2, 1, 84, 84)
        assert vector.step(np.zeros(2, np.int64)).obs.shape == (2, 1, 84, 84)
        vector.close()


def test_the_step_that_only_resets_has_no_reward_and_no_end():
    vector = make_vector("ALE/Pong-v5", SURE, 1, seed=0)
    first = vector.reset()
    results = [vector.step(np.zeros(1, np.int64)) for _ in range(22)]
    assert [bool(r.truncateds[0]) for r in results] == [False] * 19 + [True] + [False] * 2
    assert results[20].rewards[0] == 0
    np.testing.assert_array_equal(results[20].obs, first)
    assert (results[19].obs != first).any(), "the final observation comes before the reset's"
    vector.close()


def test_frames_that_were_returned_are_never_written_again():
    vector = make_vector("ALE/Pong-v5", {}, 2, seed=0)
    frames = [vector.reset()] + [vector.step(np.full(2, t % 6)).obs for t in range(20)]
    copies = [frame.copy() for frame in frames]
    for t in range(20):
        vector.step(np.full(2, t % 6))
    np.testing.assert_array_equal(frames, copies)
    vector.close()


def test_an_action_that_the_game_lacks_is_refused_and_does_not_hang():
    vector = make_vector("ALE/Pong-v5", {}, 2, seed=0)
    vector.reset()
    with pytest.raises(ValueError, match=r"not all in 0..5"):
        vector.step(np.array([0, 6]))
    vector.close()


def test_any_seed_of_a_worker_is_taken() -> None:
    """Half of the seeds that workers draw have 32 bits; ale-py's vectoriser takes 31."""
    for seed in (2**31 - 1, 2**31 + 5, 2**32 - 1):
        vector = make_vector("ALE/Pong-v5", {}, 2, seed=seed)
        assert vector.reset().shape[0] == 2
        vector.close()
