import numpy as np
import pytest
from gymnasium import spaces

from actorrl.envs.preprocessors import preprocessor_for


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


def test_other_spaces_are_refused_by_name():
    with pytest.raises(ValueError, match=r"Tuple\(Discrete\(2\).*FlattenObservation"):
        preprocessor_for(spaces.Tuple((spaces.Discrete(2),)))
