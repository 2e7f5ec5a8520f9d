import numpy as np
import pytest

from actorrl.data import columns as c


def group(rows=3, envs=2):
    return {
        c.OBS: np.zeros((rows + 1, envs, 4), np.float32),
        c.AGE: np.zeros((rows + 1, envs), np.int32),
        c.ACTIONS: np.zeros((rows, envs), np.int64),
        c.REWARDS: np.zeros((rows, envs), np.float32),
        c.VALID: np.ones((rows, envs), bool),
        c.state_in(0): np.zeros((envs, 8), np.float32),
        "an_extra_of_a_policy": np.zeros((rows, envs, 5)),
    }


def test_a_well_formed_group_passes():
    c.check(group(), 3, 2)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (c.OBS, (3, 2, 4)),
        (c.AGE, (3, 2)),
        (c.REWARDS, (4, 2)),
        (c.REWARDS, (3,)),
        (c.ACTIONS, (2, 3)),
        (c.state_in(0), (3, 8)),
        (c.state_in(0), ()),
        ("an_extra_of_a_policy", (2, 2)),
        (c.FRAMES, (3, 2, 8, 8)),
        (c.FRAMES, (4, 3, 8, 8)),
    ],
)
def test_a_column_of_another_shape_is_named(name, shape):
    with pytest.raises(ValueError, match=f"column '{name}' has shape"):
        c.check(group() | {name: np.zeros(shape)}, 3, 2)


def test_frames_take_the_place_of_observations_and_need_ages():
    frames = {c.FRAMES: np.zeros((3 + 3 + 1, 2, 8, 8), np.uint8)}
    with pytest.raises(ValueError, match="takes the place of 'obs'"):
        c.check(group() | frames, 3, 2)
    with pytest.raises(ValueError, match="needs column 'age'"):
        c.check(frames, 3, 2)
    c.check(frames | {c.AGE: np.zeros((4, 2), np.int32)}, 3, 2)


@pytest.mark.parametrize("rows", [[6], [-1], [0, 1], [[0]]])
def test_final_rows_must_name_rows_of_the_fragment(rows):
    finals = {c.FINAL_OBS: np.zeros((1, 4), np.float32), c.FINAL_ROWS: np.array(rows)}
    with pytest.raises(ValueError, match="final_rows"):
        c.check(group() | finals, 3, 2)


def test_final_observations_and_their_rows_come_together():
    with pytest.raises(ValueError, match="needs column"):
        c.check(group() | {c.FINAL_OBS: np.zeros((0, 4))}, 3, 2)
    none = {c.FINAL_OBS: np.zeros((0, 4)), c.FINAL_ROWS: np.zeros(0, np.int64)}
    c.check(group() | none, 3, 2)


def test_flat_rows_must_be_equally_many():
    c.check_rows({c.OBS: np.zeros((5, 4)), c.ACTIONS: np.zeros(5)}, 5)
    with pytest.raises(ValueError, match="column 'actions'"):
        c.check_rows({c.OBS: np.zeros((5, 4)), c.ACTIONS: np.zeros(4)}, 5)
