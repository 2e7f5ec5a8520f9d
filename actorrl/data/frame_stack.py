"""Frame stacks from single frames, exactly as `FrameStackObservation(padding_type="reset")`.

Letters: T rows, B environments, K final observations, k frames in a stack, H height, W width.
`frames` has k-1 lead-in frames before the frame of row 0, so the frame of row t is `frames[k - 1 +
t]`. Position j of the stack (0 = newest) shows the frame of row `t - min(j, age[t])`: an episode's
first frame repeats, and nothing from before a reset is ever seen.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from actorrl.data import columns as c


def stack_size(num_frames: int, num_ages: int) -> int:
    """k, from the lengths of the columns `frames` [k-1+T+1] and `age` [T+1]."""
    return num_frames - num_ages + 1


def frame_rows(rows: np.ndarray, age: np.ndarray, k: int) -> np.ndarray:
    """The rows whose frames make up each stack, oldest first: int64, the shape of `rows` + [k]."""
    steps_back = np.minimum(np.arange(k - 1, -1, -1), np.asarray(age)[..., None])
    return np.asarray(rows)[..., None] - steps_back


def final_stacks(
    frames: np.ndarray, age: np.ndarray, final_rows: np.ndarray, final: np.ndarray
) -> np.ndarray:
    """[K, k, H, W]: each of the final frames [K, H, W] on top of those that its last row saw, which
    is row t of environment b by `final_rows` = t * B + b, [K]."""
    k = stack_size(len(frames), len(age))
    row, env = np.divmod(final_rows, age.shape[1])
    seen = frame_rows(k - 1 + row, age[row, env], k)[:, 1:]  # without the oldest: [K, k-1]
    return np.concatenate([frames[seen, env[:, None]], final[:, None]], axis=1)


def stack_frames_numpy(frames: np.ndarray, age: np.ndarray, k: int) -> np.ndarray:
    """Stacks [T', B, k, H, W] of frames [k-1+T', B, H, W] under ages [T', B], oldest first."""
    num_rows, num_envs = age.shape
    assert frames.shape[:2] == (k - 1 + num_rows, num_envs), (frames.shape, age.shape, k)
    rows = np.broadcast_to(np.arange(num_rows)[:, None] + k - 1, age.shape)
    return frames[frame_rows(rows, age, k), np.arange(num_envs)[:, None]]


def last_observations(columns: Mapping[str, np.ndarray], k: int) -> np.ndarray:
    """What followed a fragment's last row, [B, ...]; frames stacked to [B, k, H, W]."""
    if c.FRAMES not in columns:
        return columns[c.OBS][-1]
    stacks = stack_frames_numpy(columns[c.FRAMES][-k:], columns[c.AGE][-1:], k)
    last: np.ndarray = stacks[0]
    return last
