"""Names of the user's classes and functions in checkpoints: found again, or asked for."""

from __future__ import annotations

import functools

import pytest

from actorrl.algorithms.naming import from_name, to_name
from actorrl.errors import CheckpointError


def by_name(agent: str, prefix: str = "") -> str:
    return prefix + agent


class Mapper:
    def __call__(self, agent: str) -> str:
        return agent

    def of(self, agent: str) -> str:
        return agent


def test_a_function_and_a_class_are_found_under_their_names() -> None:
    for thing in (by_name, Mapper, Mapper.of):
        assert from_name(to_name(thing)) is thing
    assert to_name("CartPole-v1") == from_name("CartPole-v1") == "CartPole-v1"


@pytest.mark.parametrize(
    "thing",
    [functools.partial(by_name, prefix="a"), Mapper(), Mapper().of, lambda agent: agent,
     "ab".__getitem__, {"a": "b"}.get],
)  # fmt: skip
def test_what_has_no_name_of_its_own_is_asked_for(thing: object) -> None:
    key = "policy_mapping_fn"
    with pytest.raises(CheckpointError, match=f"pass it as {key}="):
        from_name(to_name(thing), None, key)
    assert from_name(to_name(thing), thing, key) is thing
