"""The last action and reward in observations of policies that are told them (`envs/previous.py`).

B environments side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from actorrl.envs.preprocessors import preprocessor_for
from actorrl.envs.previous import PREV_ACTION, PREV_REWARD, nothing_done

Array = NDArray[Any]


def with_previous(space: Any, obs: Array, actions: Any, rewards: Any) -> Array:
    """Preprocessed observations [B, ...] that say what was done last and what it brought, `actions`
    and `rewards` [B], as far as their space has a place for it. RLlib's observations come without
    these places: where neither is given, they stand for an episode's start."""
    places = {name: _places(space, name) for name in (PREV_ACTION, PREV_REWARD)}
    taken = np.concatenate(list(places.values()))
    is_whole = obs.shape[1:] == space.shape
    if not len(taken) or (is_whole and actions is None and rewards is None):
        return obs
    flat = np.zeros((len(obs), *space.shape), space.dtype)
    rest = np.setdiff1d(np.arange(space.shape[0]), taken)
    flat[:, rest] = obs[:, rest] if is_whole else obs
    for name, given in ((PREV_ACTION, actions), (PREV_REWARD, rewards)):
        if len(places[name]):
            flat[:, places[name]] = _told(space.original_space[name], given, len(obs))
    return flat


def _places(space: Any, name: str) -> NDArray[np.int64]:
    leaves = [leaf for leaf in getattr(space, "leaves", ()) if leaf.path[0] == name]
    ranges = [np.arange(leaf.start, leaf.stop) for leaf in leaves]
    return np.concatenate([np.zeros(0, np.int64), *ranges])


def _told(space: Any, given: Any, num_envs: int) -> Array:
    if given is None:
        given = [nothing_done(space)] * num_envs
    elif space.shape == (1,):  # a reward: a number each
        given = np.reshape(given, (num_envs, 1))
    return preprocessor_for(space).transform(given).reshape(num_envs, -1)
