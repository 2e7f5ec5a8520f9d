"""State trees come back as they were."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actorrl.experiment.state_tree import join, split

DTYPES = [np.bool_, np.uint8, np.int64, np.float16, np.float32, np.float64, ">f4"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, max_side=3))
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ARRAYS
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


def same(one, two) -> bool:
    if isinstance(one, np.ndarray):
        return (
            one.shape == two.shape
            and one.dtype.newbyteorder("=") == two.dtype
            and bool(np.array_equal(one, two, equal_nan=one.dtype.kind == "f"))
        )
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(same, one, two))
    return type(one) is type(two) and one == two


@given(st.dictionaries(st.text(max_size=5), TREES, max_size=4))
@settings(max_examples=150, deadline=None)
def test_a_state_comes_back_as_it_was(state):
    tree, arrays = split(state)
    assert same(state, join(tree, arrays))


def test_a_random_generator_s_state_survives():
    state = np.random.default_rng(3).bit_generator.state
    tree, arrays = split(state)
    rng = np.random.default_rng()
    rng.bit_generator.state = join(tree, arrays)
    assert rng.random() == np.random.default_rng(3).random()


def test_a_tuple_becomes_a_list_and_a_numpy_number_a_plain_one():
    tree, arrays = split({"a": (1, np.float32(2.5), np.int64(3))})
    assert tree == {"a": [1, 2.5, 3]} and not arrays


def test_arrays_are_stored_in_c_order_whatever_their_strides():
    array = np.arange(12.0).reshape(3, 4).T[::2]
    _, arrays = split({"a": array})
    assert arrays["a"].flags.c_contiguous
    np.testing.assert_array_equal(arrays["a"], array)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": [0, {1, 2}]}}, "a/b/1: set"),
        ({"a": {5: 1}}, "a: 5"),
        ({"a": {"__array__": 1}}, "a: '__array__'"),
        ({"a": np.array([object()])}, "a: an array of object"),
        ({"a": np.array(["text"])}, "a: an array of <U4"),
        ({"a": b"bytes"}, "a: bytes"),
        ({"a": print}, "a: builtin_function"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_path(state, message):
    with pytest.raises(TypeError) as caught:
        split(state)
    assert str(caught.value).startswith(message)
