"""From a fragment's [T, B] columns to flat [N] rows, as users of `SampleBatch` see them.

Letters: T rows and B environments of a fragment, N valid rows, S sequences, K final observations,
k frames of a stack.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from actorrl.data import columns as c
from actorrl.data.frame_stack import final_stacks, stack_frames_numpy, stack_size


def flat_columns(group: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """[T, B] columns to [N] rows: B outside, T inside, invalid rows left out; and `seq_lens` [S].

    Adds what users of a flat view expect: `new_obs`, `dones`, `t`, and the ids of environments and
    of the pieces of episodes, which count from 0. Recurrent state has S rows.
    """
    keep = group[c.VALID].T.reshape(-1)  # [B * T]

    def flat(column: np.ndarray) -> np.ndarray:
        rows: np.ndarray = column.swapaxes(0, 1).reshape(-1, *column.shape[2:])[keep]
        return rows

    rows = {
        name: flat(column)
        for name, column in group.items()
        if c.axes_of(name) is c.Axes.TB and name != c.VALID
    }
    obs, next_obs = _observations(group)
    rows[c.OBS], rows[c.NEXT_OBS] = flat(obs), flat(next_obs)
    num_rows, num_envs = group[c.VALID].shape
    rows[c.T] = flat(group[c.AGE][:-1]).astype(np.int64)
    if c.TERMINATEDS in rows and c.TRUNCATEDS in rows:
        rows[c.DONES] = rows[c.TERMINATEDS] | rows[c.TRUNCATEDS]
    rows[c.ENV_ID] = np.repeat(np.arange(num_envs), num_rows)[keep]
    first = _first_of_piece(group)  # [T, B]
    rows[c.EPS_ID] = (np.cumsum(first.T.reshape(-1)) - 1)[keep]
    seq_lens = np.bincount(rows[c.EPS_ID], minlength=int(first.sum()))
    used = seq_lens > 0
    rows[c.EPS_ID] = (np.cumsum(used) - 1)[rows[c.EPS_ID]]
    return rows | _states(group, first, used), seq_lens[used]


def _first_of_piece(group: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where an episode, or what this fragment has of it, begins: [T, B]."""
    first = group[c.AGE][:-1] == 0
    first[0] = True
    return first


def _states(
    group: Mapping[str, np.ndarray], first: np.ndarray, used: np.ndarray
) -> dict[str, np.ndarray]:
    """State at the start of each sequence: the stored one at row 0, zeros after a reset."""
    row, env = np.nonzero(first.T)[::-1]  # pieces in the order of `eps_id`
    row, env = row[used], env[used]
    states = {}
    for name in group:
        if c.is_state_in(name):
            state = group[name][env].copy()
            state[row > 0] = 0
            states[name] = state
    return states


def _observations(group: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """obs and new_obs, [T, B, ...] each."""
    final = group.get(c.FINAL_OBS)
    if c.FRAMES in group:
        frames, age = group[c.FRAMES], group[c.AGE]
        obs = stack_frames_numpy(frames, age, stack_size(len(frames), len(age)))
        if final is not None and len(final):
            final = final_stacks(frames, age, group[c.FINAL_ROWS], final)
    else:
        obs = group[c.OBS]
    next_obs = obs[1:]
    if final is not None and len(final):
        next_obs = next_obs.copy()
        next_obs.reshape(-1, *next_obs.shape[2:])[group[c.FINAL_ROWS]] = final
    return obs[:-1], next_obs
