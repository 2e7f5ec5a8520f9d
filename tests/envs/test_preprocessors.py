import pickle
import re

import numpy as np
import pytest
from gymnasium import spaces

from actorrl.envs.preprocessors import preprocessor_for, problem_with


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int64])
def test_boxes_stay_as_they_are(dtype):
    space = spaces.Box(0, 100, (2, 3), dtype)
    preprocessor = preprocessor_for(space)
    obs = np.ones((5, 2, 3), dtype)
    assert preprocessor.space is space
    assert preprocessor.transform(obs).dtype == dtype
    np.testing.assert_array_equal(preprocessor.transform(obs), obs)


def test_float64_becomes_float32():
    preprocessor = preprocessor_for(spaces.Box(-1e300, 1e300, (2,), np.float64))
    assert preprocessor.space.dtype == np.float32
    assert preprocessor.transform(np.ones((5, 2))).dtype == np.float32


def test_numbers_become_one_hot_rows():
    preprocessor = preprocessor_for(spaces.Discrete(3, start=10))
    assert preprocessor.space.shape == (3,)
    rows = preprocessor.transform(np.array([10, 12]))
    assert rows.dtype == np.float32
    assert rows.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_many_numbers_become_one_hot_vectors_side_by_side():
    preprocessor = preprocessor_for(spaces.MultiDiscrete([[2, 3]], start=[[0, 5]]))
    rows = preprocessor.transform(np.array([[[0, 5]], [[1, 7]]]))
    assert rows.tolist() == [[1, 0, 1, 0, 0], [0, 1, 0, 0, 1]]


NESTED = spaces.Dict(
    position=spaces.Box(-1, 1, (2,), np.float32),
    inside=spaces.Tuple([spaces.Discrete(3, start=1), spaces.MultiBinary(2)]),
    map=spaces.Box(0, 255, (2, 2), np.uint8),
)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(3, start=-1),
        spaces.MultiDiscrete([3, 2]),
        spaces.MultiBinary((2, 2)),
        NESTED,
        spaces.Tuple([NESTED, spaces.Box(0, 9, (1,), np.int64)]),
    ],
)
def test_the_result_is_gymnasiums_own_flattening(space):
    """Where entries keep the order that the space has."""
    space.seed(0)
    raw = [space.sample() for _ in range(20)]
    preprocessor = preprocessor_for(space)
    flat = preprocessor.transform(raw)
    assert flat.dtype == np.float32
    np.testing.assert_allclose(flat, [spaces.flatten(space, one) for one in raw])
    assert all(preprocessor.space.contains(row) for row in flat)
    assert all(problem_with(space, one) is None for one in raw)


def test_leaves_say_where_everything_lies():
    preprocessor = preprocessor_for(NESTED)
    raw = NESTED.sample()
    (flat,) = preprocessor.transform([raw])
    leaves = {
        leaf.path: flat[leaf.start : leaf.stop].reshape(leaf.shape)
        for leaf in preprocessor.space.leaves
    }
    assert set(leaves) == {("inside", 0), ("inside", 1), ("map",), ("position",)}
    np.testing.assert_array_equal(leaves[("map",)], raw["map"])
    np.testing.assert_array_equal(leaves[("position",)], raw["position"])
    assert preprocessor.space.original_space is NESTED
    again = pickle.loads(pickle.dumps(preprocessor.space))
    assert again.leaves == preprocessor.space.leaves and again.mask_size == 0


def test_an_image_alone_stays_an_image():
    space = spaces.Dict(screen=spaces.Tuple([spaces.Box(0, 255, (4, 5, 3), np.uint8)]))
    preprocessor = preprocessor_for(space)
    assert preprocessor.space.shape == (4, 5, 3)
    assert preprocessor.transform([space.sample()] * 2).dtype == np.uint8


def test_an_action_mask_lies_first_and_bytes_stay_bytes():
    space = spaces.Dict(action_mask=spaces.MultiBinary(3), an=spaces.Box(0, 255, (2, 2), np.uint8))
    preprocessor = preprocessor_for(space)
    image = np.arange(4, dtype=np.uint8).reshape(2, 2)
    flat = preprocessor.transform([{"an": image, "action_mask": np.array([1, 0, 1], np.int8)}])
    assert flat.dtype == np.uint8 and flat.tolist() == [[1, 0, 1, 0, 1, 2, 3]]
    assert preprocessor.space.mask_size == 3


@pytest.mark.parametrize(
    ("space", "obs", "problem"),
    [
        (spaces.Discrete(3), 3, "3 that is not in Discrete"),
        (spaces.Discrete(3), -1, "-1 that is not in Discrete"),
        (spaces.Discrete(3), 1.5, "1.5 that is not in"),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 3]), "that is not in MultiDiscrete"),
        (spaces.MultiBinary(2), np.array([1, 2]), "that is not in MultiBinary"),
        (spaces.MultiBinary(2), np.array([1]), r"of shape \(1,\), but observation_space has"),
        (spaces.Dict(a=spaces.Discrete(2)), {"b": 1}, r"the entries \['b'\], but"),
        (spaces.Dict(a=spaces.Discrete(2)), {"a": 7}, "entry 'a' is 7 that is not in"),
        (spaces.Tuple([spaces.Discrete(2)]), (1, 1), r"the entries \[0, 1\], but"),
        (spaces.Dict(a=spaces.Discrete(2)), 5, "5, but observation_space has"),
    ],
)
def test_what_is_not_in_its_space_is_named(space, obs, problem):
    assert re.search(problem, problem_with(space, obs))


def test_other_spaces_are_refused_by_name():
    with pytest.raises(ValueError, match=r"Text\(.* are not supported; Box, Discrete"):
        preprocessor_for(spaces.Tuple((spaces.Discrete(2), spaces.Text(3))))
