"""What a user gives to `learn_on_batch`, made what learners know, or refused in a sentence before
it reaches a network: one NaN in it would turn all weights of the run into NaN.

N rows, S sequences of an LSTM, K numbers of a flat action.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from gymnasium import spaces

from actorrl.data import columns as c
from actorrl.data.sample_batch import SampleBatch
from actorrl.errors import ConfigError
from actorrl.policies.base import Policy

_NUMBERS = (
    c.REWARDS, c.WEIGHTS, c.DISCOUNTS, c.ACTION_LOGP, c.VF_PREDS, c.ADVANTAGES, c.VALUE_TARGETS,
)  # fmt: skip
_FLOAT32 = np.dtype(np.float32)
_VECTORS = (c.ACTION_DIST_INPUTS, c.Q_VALUES)
_FLAGS = (c.TERMINATEDS, c.TRUNCATEDS, c.DONES)
_NAMES = (c.EPS_ID, c.ENV_ID, c.AGENT_INDEX)  # numbers or text: they are told apart


def taught_rows(policy: Policy, samples: Any) -> SampleBatch:
    """The columns that are known, each in its own dtype and shape; `dones` will do for
    `terminateds`. Raises ConfigError, naming the column."""
    if not isinstance(samples, Mapping):
        _refuse(f"{type(samples).__name__} is no batch, expected a SampleBatch or dict of columns")
    try:
        batch = samples if isinstance(samples, SampleBatch) else SampleBatch(samples)
    except ValueError as error:
        _refuse(str(error))
    rows = {name: _known(policy, name, batch[name], batch.count) for name in batch}
    columns = {name: column for name, column in rows.items() if column is not None}
    if c.TERMINATEDS not in columns and c.DONES in columns:
        columns[c.TERMINATEDS] = columns[c.DONES]
    if batch.seq_lens is None:
        columns = {name: x for name, x in columns.items() if not c.is_state_in(name)}
    return SampleBatch(columns, seq_lens=batch.seq_lens)


def _known(policy: Policy, name: str, column: np.ndarray, count: int) -> np.ndarray | None:
    """None for a column that nobody learns from."""
    if name in (c.OBS, c.NEXT_OBS):
        return _observations(policy, name, column, count)
    if name == c.ACTIONS:
        return _actions(policy, column, count)
    if name in _NUMBERS:
        return _finite(name, column, (count,))
    if name in _VECTORS:
        return _finite(name, column, (count, *column.shape[1:2]))
    if name in _FLAGS:
        return _finite(name, column, (count,)).astype(np.bool_)
    if name == c.T:
        return _finite(name, column, (count,), np.dtype(np.int64))
    if name in _NAMES:
        return column if column.shape == (count,) else _refuse_shape(name, column, (count,))
    if c.is_state_in(name):
        return _finite(name, column, column.shape)
    return None


def _observations(policy: Policy, name: str, column: np.ndarray, count: int) -> np.ndarray:
    space, stack = policy.observation_space, policy.frame_stack
    shape = (stack, *space.shape) if stack > 1 else tuple(space.shape)
    found = _finite(name, column, (count, *shape), np.dtype(space.dtype))
    if space.dtype.kind != "f" and not np.array_equal(found, column):
        _refuse(f"column {name!r} holds numbers that {space.dtype} cannot be")
    return found


def _actions(policy: Policy, column: np.ndarray, count: int) -> np.ndarray:
    """As they are stored: [N, *layout.shape], whole numbers counted from 0."""
    layout, choices = policy.action_layout, np.array(_choices(policy.action_space))
    if column.size != count * len(choices):
        _refuse_shape(c.ACTIONS, column, (count, *layout.shape))
    flat = _finite(c.ACTIONS, column, column.shape).reshape(count, len(choices))
    wrong = np.isfinite(choices) & ((flat < 0) | (flat >= choices) | (flat != np.rint(flat)))
    if wrong.any():
        row, number = np.argwhere(wrong)[0].tolist()
        _refuse(
            f"column {c.ACTIONS!r} has {flat[row, number]:g} in row {row}, expected whole numbers"
            f" from 0 to {choices[number] - 1:g}, as actions of {policy.action_space} are stored"
        )
    return flat.astype(layout.dtype).reshape(count, *layout.shape)


def _choices(space: Any) -> list[float]:
    """[K]: how many whole numbers each may be; infinity: any number."""
    if isinstance(space, spaces.Discrete):
        return [float(space.n)]
    if isinstance(space, spaces.MultiDiscrete):
        return [float(n) for n in space.nvec.ravel()]
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return [n for part in parts for n in _choices(part)]
    each = 2.0 if isinstance(space, spaces.MultiBinary) else math.inf
    return [each] * math.prod(space.shape)


def _finite(
    name: str, column: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any] = _FLOAT32
) -> np.ndarray:
    if column.dtype.kind not in "biuf":
        _refuse(f"column {name!r} holds {column.dtype}, expected numbers")
    if column.shape != shape:
        _refuse_shape(name, column, shape)
    with np.errstate(over="ignore", invalid="ignore"):
        found = column.astype(dtype, copy=False)
    wrong = np.argwhere(~(np.isfinite(column) & np.isfinite(found)))
    if len(wrong):
        at = tuple(wrong[0].tolist())
        _refuse(f"column {name!r} has {column[at]} in row {at[0]}, expected finite numbers")
    return found


def _refuse_shape(name: str, column: np.ndarray, shape: tuple[int, ...]) -> NoReturn:
    _refuse(f"column {name!r} has shape {column.shape}, expected {shape}")


def _refuse(what: str) -> NoReturn:
    raise ConfigError(f"learn_on_batch: {what}")
