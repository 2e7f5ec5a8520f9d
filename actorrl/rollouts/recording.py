"""The columns of a fragment while its rows are written, and what the next one starts from.

Letters: T rows of a fragment, B environments, k frames in a stack.
"""

from __future__ import annotations

import numpy as np

from actorrl import copies
from actorrl.data import columns as c
from actorrl.data.allocate import Allocate
from actorrl.data.frame_stack import frame_rows
from actorrl.envs.vector import StepResult, VectorEnv


class Recording:
    """One collector's. Between `begin` and `end` of a fragment it takes what the policy did in each
    row, and what came of it. Observation, age and lead-in frames carry on into the next."""

    def __init__(self, env: VectorEnv, num_rows: int, num_lead_in: int) -> None:
        self.columns: dict[str, np.ndarray] = {}
        self.frames: np.ndarray | None = None  # with those that lead in, where they are stacked
        self.broken: list[tuple[int, int, bool]] = []  # row, environment, cut
        # What the next fragment starts from, or None before the first reset: [1, B, ...], or the
        # last k frames and more [num_lead_in + k, B, H, W].
        self.carried: np.ndarray | None = None
        self._num_carried = env.frame_stack + (num_lead_in if env.frame_stack > 1 else 0)
        self._num_rows = num_rows
        self._num_envs = env.num_envs
        self._frame_stack = env.frame_stack
        self._same_step = env.autoreset == "same_step"
        self._env_columns = np.arange(env.num_envs)
        self._age = np.zeros(env.num_envs, np.int32)
        self._num_settled = 0  # rows whose flags, rewards and ages are what receivers see
        self._ended = np.zeros(env.num_envs, np.bool_)  # did the last settled row end an episode?
        self._finals: list[tuple[np.ndarray, np.ndarray]] = []

    def start(self, obs: np.ndarray) -> None:
        """The first observations [B, ...] of all; each has age 0."""
        self.carried = np.broadcast_to(obs, (self._num_carried, *obs.shape))

    def begin(self, allocate: Allocate) -> None:
        """Fresh arrays, with the observations that the fragment starts from already in place.

        Never reuse a sent fragment's arrays: they may still be on their way.
        """
        assert self.carried is not None
        self._finals.clear()
        self.broken.clear()
        self._num_settled = 0
        rows, envs = self._num_rows, self._num_envs
        columns = self.columns = {
            c.AGE: np.empty((rows + 1, envs), np.int32),
            c.REWARDS: np.empty((rows, envs), np.float32),
            c.TERMINATEDS: np.empty((rows, envs), np.bool_),
            c.TRUNCATEDS: np.empty((rows, envs), np.bool_),
            c.VALID: np.empty((rows, envs), np.bool_),
        }
        columns[c.AGE][0] = self._age
        shape, num_carried = self.carried.shape[1:], self._num_carried
        observed = allocate((num_carried + rows, *shape), self.carried.dtype)
        # Before anything else is written: both may be the same memory.
        np.copyto(observed[:num_carried], self.carried)
        if self._frame_stack == 1:
            columns[c.OBS] = observed
        else:
            self.frames = observed
            columns[c.FRAMES] = observed[num_carried - self._frame_stack :]

    def shown(self, t: int) -> np.ndarray:
        """The observations [B, ...] of row t, stacked [B, k, H, W] where frames are stored."""
        k = self._frame_stack
        if k == 1:
            return self.columns[c.OBS][t]
        rows = frame_rows(np.full(self._num_envs, k - 1 + t), self.columns[c.AGE][t], k)
        return self.columns[c.FRAMES][rows, self._env_columns[:, None]]

    def place(self, t: int) -> np.ndarray:
        """Where the environments' observations [B, ...] of row t go."""
        k = self._frame_stack
        found: np.ndarray = self.columns[c.OBS][t] if k == 1 else self.columns[c.FRAMES][k - 1 + t]
        return found

    def write_act(self, t: int, actions: np.ndarray, extras: dict[str, np.ndarray]) -> None:
        """[B, ...] each: what the policy did in row t, and said of it."""
        columns = self.columns
        if t == 0:
            for name, value in ((c.ACTIONS, actions), *extras.items()):
                columns[name] = np.empty((self._num_rows, *value.shape), value.dtype)
        columns[c.ACTIONS][t] = actions
        for name, value in extras.items():
            columns[name][t] = value

    def write_result(self, t: int, result: StepResult) -> None:
        """Row t's outcome, as it is told; `settle` makes of it what receivers see."""
        columns = self.columns
        columns[c.TERMINATEDS][t] = result.terminateds
        columns[c.TRUNCATEDS][t] = result.truncateds
        columns[c.REWARDS][t] = result.rewards
        if result.broken_envs is not None:
            self.settle(t + 1)
            for env in result.broken_envs.tolist():
                self._write_broken(t, env)
        if result.final_envs is not None and len(result.final_envs):
            assert result.final_obs is not None
            self._finals.append((result.final_obs, result.final_envs + t * self._num_envs))

    def settle(self, end: int) -> None:
        """The flags, rewards and ages of all rows before `end`. Whoever looks at a row before the
        fragment is whole calls it for each; else `end` does once, in a fraction of the time.

        Under NEXT_STEP the step after an end only resets, so its row is no decision. If both flags
        are set, terminated wins: there is no value after it.
        """
        start, self._num_settled = self._num_settled, end
        if start == end:
            return
        columns, rows = self.columns, slice(start, end)
        terminateds, truncateds = columns[c.TERMINATEDS][rows], columns[c.TRUNCATEDS][rows]
        truncateds &= ~terminateds
        ended = terminateds | truncateds
        valid = columns[c.VALID][rows]
        if self._same_step:
            valid[:] = True
            goes_on = ~ended
        else:
            np.logical_not(self._ended, out=valid[0])
            np.logical_not(ended[:-1], out=valid[1:])
            columns[c.REWARDS][rows] *= valid
            goes_on = valid
        # Rows since the last reset, or since before the first of these by the age that it has.
        age = columns[c.AGE][start : end + 1]
        numbers = np.arange(1, len(age), dtype=np.int32)[:, None]
        age[1:] = numbers - np.maximum.accumulate(np.where(goes_on, -age[0], numbers), axis=0)
        self._ended = ended[-1]

    def _write_broken(self, t: int, env: int) -> None:
        """An environment broke in row t: the row is no decision, and the episode is cut before it,
        as a truncation would. (Where the row before is in the last fragment, that one ended there
        anyway, and n-step tails find the row that is no decision.)"""
        columns = self.columns
        columns[c.VALID][t, env] = False
        columns[c.REWARDS][t, env] = 0.0
        columns[c.AGE][t + 1, env] = 0
        is_cut = (
            t > 0
            and bool(columns[c.VALID][t - 1, env])
            and not columns[c.TERMINATEDS][t - 1, env]
            and not columns[c.TRUNCATEDS][t - 1, env]
        )
        if is_cut:
            columns[c.TRUNCATEDS][t - 1, env] = True
        self.broken.append((t, env, is_cut))

    def end(self, is_shared: bool) -> dict[str, np.ndarray]:
        """The columns; what the next fragment starts from is copied unless it may look back at
        them. Observations were copied once, be they the environment's or carried on."""
        self.settle(self._num_rows)
        columns, self.columns = self.columns, {}  # nothing here keeps them
        if self._same_step:
            self._write_finals(columns)
        observed = columns[c.OBS] if self.frames is None else self.frames
        self.carried = observed[-self._num_carried :]
        if not is_shared:
            self.carried = self.carried.copy()
        self._age = columns[c.AGE][-1].copy()
        if copies.COUNTING:
            again = 0 if is_shared else self.carried.nbytes
            copies.note("fragment", c.OBS, observed.nbytes, observed.nbytes + again)
            if c.FINAL_OBS in columns:
                copies.note("fragment", c.FINAL_OBS, columns[c.FINAL_OBS].nbytes)
        return columns

    def _write_finals(self, columns: dict[str, np.ndarray]) -> None:
        """SAME_STEP: the observations that the resets replaced, and the rows they belong to."""
        name = c.OBS if self._frame_stack == 1 else c.FRAMES
        shape, dtype = columns[name].shape[2:], columns[name].dtype
        if self._finals:
            obs, rows = zip(*self._finals, strict=True)
            columns[c.FINAL_OBS] = np.concatenate(obs).astype(dtype, copy=False)
            columns[c.FINAL_ROWS] = np.concatenate(rows).astype(np.int64)
        else:
            columns[c.FINAL_OBS] = np.empty((0, *shape), dtype)
            columns[c.FINAL_ROWS] = np.empty(0, np.int64)
