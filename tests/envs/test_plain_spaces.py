"""Spaces written into JSON and read back are the same."""

from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

from actorrl.envs.plain_spaces import from_plain, to_plain

SPACES: list[gym.Space[Any]] = [
    spaces.Box(0, 255, (42, 42, 3), np.uint8),
    spaces.Box(-np.inf, np.inf, (), np.float32),
    spaces.Box(np.array([[-1.2, -np.inf]]), np.array([[0.6, 7.0]]), dtype=np.float64),
    spaces.Box(0, 1, (0,), np.float32),
    spaces.Discrete(4, start=-1),
    spaces.MultiDiscrete([2, 3], start=[1, 0]),
    spaces.MultiBinary(3),
    spaces.MultiBinary([2, 2]),
    spaces.Dict({"at": spaces.Discrete(3), "in": spaces.Tuple((spaces.Box(-1, 1, (2,)),))}),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_space_comes_back_from_its_text(space: gym.Space[Any]) -> None:
    text = json.dumps(to_plain(space), allow_nan=False)
    assert from_plain(json.loads(text)) == space


def test_another_kind_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Text"):
        to_plain(spaces.Dict({"said": spaces.Text(5)}))
    with pytest.raises(ValueError, match="'Text'"):
        from_plain({"kind": "Text"})
