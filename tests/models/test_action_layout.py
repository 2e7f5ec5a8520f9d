from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Text, Tuple

from actorrl.errors import ConfigError
from actorrl.models.action_layout import action_layout, is_bounded

SPACES = {
    "discrete": Discrete(3),
    "discrete from -1": Discrete(3, start=-1),
    "multi-discrete": MultiDiscrete([3, 2, 4]),
    "multi-discrete from 5": MultiDiscrete([3, 2], start=[5, 0]),
    "multi-discrete grid": MultiDiscrete([[2, 3], [4, 5]]),
    "multi-binary": MultiBinary(4),
    "box": Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32)),
    "box of two axes": Box(-3, 5, (2, 3)),
    "unbounded box": Box(-np.inf, np.inf, (2,)),
    "half-bounded box": Box(0, np.inf, (2,)),
    "dict": Dict(a=Discrete(3, start=2), b=Box(-2, 2, (2,)), c=MultiBinary(2)),
    "tuple in tuple": Tuple([MultiDiscrete([3, 3]), Tuple([Discrete(2), Box(0, 1, (1, 2))])]),
}


@pytest.mark.parametrize("name", SPACES)
def test_actions_of_the_environment_come_back_as_they_went_in(name):
    space = SPACES[name]
    space.seed(0)
    layout = action_layout(space)
    originals = [space.sample() for _ in range(20)]
    stored = layout.from_env(originals)
    assert stored.shape == (20, *layout.shape) and stored.dtype == layout.dtype
    for original, action in zip(originals, layout.to_env(stored), strict=True):
        assert space.contains(action), action
        assert_same(original, action)


def assert_same(a, b):
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = tuple(a.values()), tuple(b.values())
    if isinstance(a, tuple):
        assert isinstance(b, tuple)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("name", ["multi-discrete", "multi-binary", "tuple in tuple"])
def test_an_environment_that_changes_its_action_in_place_leaves_what_is_stored(name):
    layout = action_layout(SPACES[name])
    stored = layout.from_env([SPACES[name].sample() for _ in range(2)])
    before = stored.copy()
    for action in layout.to_env(stored):
        part = action[0] if isinstance(action, tuple) else action
        part += 1
    np.testing.assert_array_equal(stored, before)


def test_minus_one_is_low_and_one_is_high_and_beyond_is_clipped():
    layout = action_layout(SPACES["box"])
    stored = np.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [-9.0, 9.0]], np.float32)
    expected = [[-2, 0], [2, 10], [0, 5], [-2, 10]]
    np.testing.assert_allclose(layout.to_env(stored), expected)


def test_unbounded_numbers_pass_and_half_bounded_ones_are_only_clipped():
    x = np.array([[-7.0, 7.0]], np.float32)
    np.testing.assert_array_equal(action_layout(SPACES["unbounded box"]).to_env(x), x)
    np.testing.assert_array_equal(action_layout(SPACES["half-bounded box"]).to_env(x), [[0.0, 7.0]])


def test_a_box_of_whole_numbers_is_rounded():
    layout = action_layout(Box(0, 10, (1,), np.int32))
    actions = layout.to_env(np.array([[-1.0], [0.13], [1.0]], np.float32))
    assert actions.dtype == np.int32 and actions.ravel().tolist() == [0, 6, 10]


def test_what_is_bounded():
    assert is_bounded(SPACES["box"]) and not is_bounded(SPACES["half-bounded box"])
    assert not is_bounded(Discrete(2))


def test_other_spaces_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"Text\(.*expected Discrete, MultiDiscrete"):
        action_layout(Dict(words=Text(5)))


def test_a_box_in_units_of_the_environment_is_clipped_or_left_as_it_is():
    space, stored = Box(-2.0, 6.0, (2,)), np.array([[5.0, -3.0], [0.5, 9.0]], np.float32)
    clipped, raw = action_layout(space, "clipped"), action_layout(space, "raw")
    np.testing.assert_array_equal(clipped.to_env(stored), [[5.0, -2.0], [0.5, 6.0]])
    np.testing.assert_array_equal(raw.to_env(stored), stored)
    np.testing.assert_array_equal(clipped.from_env(stored), stored)
    inside = action_layout(Dict(a=Discrete(3), b=space), "clipped")
    (action,) = inside.to_env(np.array([[2.0, 5.0, -3.0]], np.float32))
    assert action["a"] == 2 and action["b"].tolist() == [5.0, -2.0]
