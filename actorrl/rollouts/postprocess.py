"""What a worker makes of fragments for replay: n-step rows, and their first priorities.

Letters: T rows of a fragment, B environments, C rows carried over from the fragment before,
L = C + T, N rows that come out, K final observations, k frames in a stack, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from actorrl import copies
from actorrl.data import columns as c
from actorrl.data.frame_stack import frame_rows, stack_size

Columns = Mapping[str, np.ndarray]


class _Windows(NamedTuple):
    """For each start row, [L, B]: the next n rows, or fewer where an end comes before."""

    returns: np.ndarray  # float64, discounted sum of rewards
    lengths: np.ndarray  # int64, rows in the window that are known
    ended: np.ndarray  # bool, closed by an end
    terminated: np.ndarray  # bool, closed by a termination


def _windows(
    rewards: np.ndarray, terminateds: np.ndarray, ended: np.ndarray, n: int, gamma: float
) -> _Windows:
    """One pass per offset 0..n-1, each over all rows at once."""
    num_rows = len(rewards)
    returns = np.zeros(rewards.shape, np.float64)
    lengths = np.zeros(rewards.shape, np.int64)
    open_ = np.ones(rewards.shape, np.bool_)
    terminated = np.zeros(rewards.shape, np.bool_)
    for offset in range(min(n, num_rows)):
        here, there = slice(0, num_rows - offset), slice(offset, None)
        running = open_[here]  # a view: the last line closes windows in place
        returns[here] += gamma**offset * np.where(running, rewards[there], 0.0)
        lengths[here] += running
        terminated[here] |= running & terminateds[there]
        running &= ~ended[there]
    return _Windows(returns, lengths, ~open_, terminated)


def num_lead_in(n: int, with_q_values: bool) -> int:
    """Rows that NStep carries over from one fragment to the next: those whose bootstrap has not
    come; with Q values one more, since they wait for those of their bootstrap."""
    return n if with_q_values else n - 1


class NStep:
    """Turns fragments of one worker into n-step rows, for replay. Keeps unfinished tails.

    A row is given out once its window is complete: n decisions, or fewer where the episode ends.
    It has its own discount: gamma^m after m decisions, 0 after a termination. A truncation
    bootstraps from the final observation with m < n. A fragment's end is no end: the last rows
    wait for the next call. No row ever spans an episode's end, in either autoreset mode.

    With column `q_values` [T, B, A] in the fragments (as the policy saw them, before epsilon), rows
    also carry them for their first and their bootstrap observation, from which
    `initial_priorities` computes TD errors. A row then waits until the policy has looked at its
    bootstrap observation, one decision longer. Under SAME_STEP it never looks at a final
    observation: the caller must add `final_q_values` [K, A].

    `clip_rewards` c clips each reward to [-c, c] before it is summed.
    """

    def __init__(
        self, n: int, gamma: float, num_envs: int, clip_rewards: float | None = None
    ) -> None:
        if n < 1:
            raise ValueError(f"n-step needs n >= 1, not {n}")
        self.n = n
        self.gamma = gamma
        self.num_envs = num_envs
        self.clip_rewards = clip_rewards
        self._carried: dict[str, np.ndarray] = {}

    def add(self, columns: Columns, led_frames: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The rows [N] that are complete with this fragment, oldest first; N may be 0.

        `led_frames` are the fragment's frames with those of enough rows before it in one array:
        then the carried rows' frames need not be put before them, a copy of them all.

        obs, new_obs      [N, ...]  first and bootstrap observation; with frames stored instead:
        frames            [M, H, W] those of the carried rows, then those of the fragment, flat
        obs_frames, new_obs_frames  [N, k] int32, which of `frames`, oldest first
        actions           [N, ...]
        rewards           [N] float32, discounted sum
        discounts         [N] float32, factor of the bootstrap value
        q_values, new_q_values [N, A], where the fragment has q_values; zeros after a termination
        """
        joined = self._join(columns, led_frames)
        num_rows = len(joined[c.REWARDS])
        found = _windows(
            joined[c.REWARDS], joined[c.TERMINATEDS], joined[_ENDED], self.n, self.gamma
        )
        given = joined[_PENDING] & self._complete(found, c.Q_VALUES in columns, columns)
        self._carry(joined, given, num_rows, led_frames is not None)
        row, env = np.nonzero(given)
        picked = _Picked(row, env, found.lengths[given], found.ended[given])
        rows = {
            c.ACTIONS: joined[c.ACTIONS][picked.row, picked.env],
            c.REWARDS: found.returns[given].astype(np.float32),
            c.DISCOUNTS: np.where(
                found.terminated[given], 0.0, self.gamma ** picked.lengths.astype(np.float64)
            ).astype(np.float32),
        }
        finals = self._finals(columns, picked, num_rows)
        if c.FRAMES in joined:
            rows.update(_frames_of(joined, columns, picked, finals))
        else:
            rows.update(_observations_of(joined, columns, picked, finals))
        if c.Q_VALUES in joined:
            rows.update(_q_values_of(joined, columns, picked, finals, rows[c.DISCOUNTS]))
        if copies.COUNTING:
            # observations are put behind the carried ones, and then picked
            is_led = led_frames is not None and len(finals.where) == 0
            copies.note_all("rows", rows, times=2 if c.OBS in rows else 0 if is_led else 1)
        return rows

    def _join(self, columns: Columns, led_frames: np.ndarray | None) -> dict[str, np.ndarray]:
        """The carried rows before the new ones: [L, B], observations and ages [L+1, B]."""
        rewards = columns[c.REWARDS]
        assert rewards.shape[1] == self.num_envs, (rewards.shape, self.num_envs)
        if self.clip_rewards is not None:
            rewards = np.clip(rewards, -self.clip_rewards, self.clip_rewards)
        new = {
            c.REWARDS: rewards,
            c.TERMINATEDS: columns[c.TERMINATEDS],
            _ENDED: columns[c.TERMINATEDS] | columns[c.TRUNCATEDS],
            _PENDING: columns[c.VALID],
        }
        for name in (c.ACTIONS, c.Q_VALUES, c.OBS, c.AGE, c.FRAMES):
            if name in columns:
                new[name] = columns[name]
        joined = new
        if self._carried:
            joined = {
                name: np.concatenate([self._carried[name], new[name]])
                for name in new
                if name in self._carried
            }
        if led_frames is not None:
            num_frames = len(columns[c.FRAMES]) + len(joined[_ENDED]) - len(new[_ENDED])
            assert num_frames <= len(led_frames), "too few frames lead in"
            joined[c.FRAMES] = led_frames[len(led_frames) - num_frames :]
        # A row that is no decision has an end before it, told or not: an environment that broke at
        # the first row of a fragment ended an episode in the fragment before.
        num_rows = len(joined[_ENDED])
        no_decision = ~columns[c.VALID][-(num_rows - 1) :] if num_rows > 1 else None
        if no_decision is not None:
            joined[_ENDED][num_rows - 1 - len(no_decision) : num_rows - 1] |= no_decision
        return joined

    def _complete(self, found: _Windows, has_q_values: bool, columns: Columns) -> np.ndarray:
        """Which windows [L, B] are known to their end, their bootstrap's action values included."""
        complete = found.ended | (found.lengths == self.n)
        if not has_q_values:
            return complete
        num_rows = len(complete)
        looked_at = np.arange(num_rows)[:, None] + found.lengths < num_rows
        known = looked_at | found.terminated
        if c.FINAL_ROWS in columns:
            known |= found.ended
        return complete & known

    def _carry(
        self, joined: dict[str, np.ndarray], given: np.ndarray, num_rows: int, is_led: bool
    ) -> None:
        """Keep the last rows, of which those not given out yet are pending.

        A frame column is k-1 frames ahead of the others, so the same slice of it holds the lead-in
        of the carried rows. Copies: the fragment's own arrays are on their way.
        """
        joined[_PENDING] = joined[_PENDING] & ~given
        keep = slice(max(0, num_rows - num_lead_in(self.n, c.Q_VALUES in joined)), num_rows)
        self._carried = {
            name: array[keep].copy()
            for name, array in joined.items()
            if not (name == c.FRAMES and is_led)
        }

    def _finals(self, columns: Columns, picked: _Picked, num_rows: int) -> _Finals:
        """SAME_STEP: for each row whose window an end closed, its final observation's number.

        A window that ended is given out in the fragment of its end, so the carried rows need none.
        """
        if c.FINAL_ROWS not in columns:
            return _Finals(np.empty(0, np.int64), np.empty(0, np.int64))
        num_new = len(columns[c.REWARDS])
        number = np.full(num_new * self.num_envs, -1, np.int64)
        number[columns[c.FINAL_ROWS]] = np.arange(len(columns[c.FINAL_ROWS]))
        where = np.flatnonzero(picked.ended)
        last = picked.row[where] + picked.lengths[where] - 1 - (num_rows - num_new)
        which = number[last * self.num_envs + picked.env[where]]
        assert (which >= 0).all(), "an episode ended without its final observation"
        return _Finals(where, which)


_ENDED = "ended"
_PENDING = "pending"


class _Picked(NamedTuple):
    """The rows given out, [N] each."""

    row: np.ndarray  # in 0..L-1
    env: np.ndarray
    lengths: np.ndarray  # decisions in the window
    ended: np.ndarray  # closed by an end

    @property
    def bootstrap_row(self) -> np.ndarray:
        return self.row + self.lengths


class _Finals(NamedTuple):
    """Rows whose bootstrap is a final observation kept apart (SAME_STEP)."""

    where: np.ndarray  # positions in 0..N-1
    which: np.ndarray  # numbers in 0..K-1


def _observations_of(
    joined: Columns, columns: Columns, picked: _Picked, finals: _Finals
) -> dict[str, np.ndarray]:
    new_obs = joined[c.OBS][picked.bootstrap_row, picked.env]
    if len(finals.where):
        new_obs[finals.where] = columns[c.FINAL_OBS][finals.which]
    return {c.OBS: joined[c.OBS][picked.row, picked.env], c.NEXT_OBS: new_obs}


def _frames_of(
    joined: Columns, columns: Columns, picked: _Picked, finals: _Finals
) -> dict[str, np.ndarray]:
    """The frame of row r of environment b is number (k - 1 + r) * B + b; final ones follow."""
    frames, age = joined[c.FRAMES], joined[c.AGE]
    num_envs = age.shape[1]
    k = stack_size(len(frames), len(age))
    after = picked.bootstrap_row
    after_age = age[after, picked.env]
    # A final observation that is kept apart goes on where its last row stopped.
    after_age[finals.where] = age[after[finals.where] - 1, picked.env[finals.where]] + 1

    def numbers(rows: np.ndarray, ages: np.ndarray) -> np.ndarray:
        flat = (k - 1 + frame_rows(rows, ages, k)) * num_envs + picked.env[:, None]
        return flat.astype(np.int32)

    flat_frames = frames.reshape(-1, *frames.shape[2:])
    obs_frames = numbers(picked.row, age[picked.row, picked.env])
    new_obs_frames = numbers(after, after_age)
    if len(finals.where):
        new_obs_frames[finals.where, -1] = len(flat_frames) + finals.which
        flat_frames = np.concatenate([flat_frames, columns[c.FINAL_OBS]])
    return {c.FRAMES: flat_frames, c.OBS_FRAMES: obs_frames, c.NEXT_OBS_FRAMES: new_obs_frames}


def _q_values_of(
    joined: Columns, columns: Columns, picked: _Picked, finals: _Finals, discounts: np.ndarray
) -> dict[str, np.ndarray]:
    q_values = joined[c.Q_VALUES]
    # A terminated window may be given out before row `bootstrap_row` exists; its value is not used.
    after = q_values[np.minimum(picked.bootstrap_row, len(q_values) - 1), picked.env]
    bootstraps = discounts[finals.where] > 0
    if bootstraps.any():
        if c.FINAL_Q_VALUES not in columns:
            raise ValueError(
                f"column '{c.FINAL_Q_VALUES}' is missing: under SAME_STEP autoreset a truncated "
                "episode's last action values must be given beside its final observation"
            )
        after[finals.where[bootstraps]] = columns[c.FINAL_Q_VALUES][finals.which[bootstraps]]
    after[discounts == 0] = 0.0
    return {c.Q_VALUES: q_values[picked.row, picked.env], c.NEXT_Q_VALUES: after}


def initial_priorities(rows: Columns) -> np.ndarray:
    """|TD error| [N] float32 of n-step rows with action values (Horgan et al. 2018, section 3).

    The worker has no target network: its online values stand for both networks of double Q.
    """
    taken = np.take_along_axis(rows[c.Q_VALUES], rows[c.ACTIONS][:, None], axis=1)[:, 0]
    best_after = rows[c.NEXT_Q_VALUES].max(axis=1)
    td_errors = rows[c.REWARDS] + rows[c.DISCOUNTS] * best_after - taken
    return np.abs(td_errors).astype(np.float32)
