import msgpack
import numpy as np
import pytest

from actorrl.data.fragment import Episode, Fragment
from actorrl.errors import WireError


def fragment():
    return Fragment(
        groups={
            "default_policy": {"obs": np.arange(8.0).reshape(4, 2)},
            "team/blue": {"obs": np.zeros((4, 2)), "rewards": np.ones((3, 2), np.float32)},
        },
        num_env_steps=np.int64(6),
        policy_version=3,
        episodes=[Episode(np.int64(4), np.float32(1.5), 9)],
        worker_index=2,
        metrics={"env_s": np.float64(0.5)},
        num_resets=np.int64(2),
    )


def test_a_fragment_survives_the_way_through_msgpack_and_raw_arrays():
    body, arrays = fragment().to_message()
    assert set(arrays) == {"default_policy/obs", "team/blue/obs", "team/blue/rewards"}
    back = Fragment.from_message(msgpack.unpackb(msgpack.packb(body)), arrays)
    assert back.num_env_steps == 6
    assert back.policy_version == 3
    assert back.worker_index == 2
    assert back.episodes == [Episode(4, 1.5, 9)]
    assert back.metrics == {"env_s": 0.5}
    assert back.num_resets == 2
    np.testing.assert_array_equal(back.groups["team/blue"]["rewards"], np.ones((3, 2)))


def test_arrays_are_passed_on_without_a_copy():
    original = fragment()
    _, arrays = original.to_message()
    assert arrays["team/blue/obs"] is original.groups["team/blue"]["obs"]


def test_columns_are_those_of_the_only_group():
    only = Fragment({"p": {"obs": np.zeros(3)}}, 3, 0)
    assert list(only.columns) == ["obs"]
    assert only.nbytes == 24
    with pytest.raises(ValueError, match="2 groups"):
        _ = fragment().columns


@pytest.mark.parametrize(
    "change",
    [
        {"episodes": [[1, 2.0]]},
        {"episodes": 3},
        {"metrics": []},
        {"num_env_steps": "many"},
        {"num_env_steps": None},
        {"policy_version": float("inf")},
    ],
)
def test_a_malformed_body_is_a_wire_error(change):
    body, arrays = fragment().to_message()
    with pytest.raises(WireError, match="not a fragment"):
        Fragment.from_message(body | change, arrays)


def test_a_body_with_a_part_missing_or_a_nameless_array_is_a_wire_error():
    body, arrays = fragment().to_message()
    with pytest.raises(WireError):
        Fragment.from_message({}, arrays)
    with pytest.raises(WireError):
        Fragment.from_message(body, {"obs": np.zeros(3)})
