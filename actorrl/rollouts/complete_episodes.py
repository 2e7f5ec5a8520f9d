"""Fragments of whole episodes, side by side (`batch_mode: complete_episodes`).

Letters: T rows of the longest episode, B episodes, k frames in a stack.

An episode becomes a column of [T, B] arrays: its decisions, then the row behind its end, which is
no decision and holds the final observation (and what the policy said of it), then padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from actorrl.data import columns as c
from actorrl.data.allocate import Allocate
from actorrl.data.fragment import Episode, Fragment, single_group
from actorrl.envs.vector import VectorEnv
from actorrl.rollouts.collector import ActingPolicy, Collector

Columns = dict[str, np.ndarray]


class EpisodeCollector(Collector):
    """Steps on until there are as many rows of whole episodes as a fragment would have had.

    What it keeps is bounded by the environments' longest episodes; one that never ends is never
    given out. An episode may span several versions of the weights, of which the first is told.
    """

    def __init__(
        self,
        env: VectorEnv,
        policy: ActingPolicy,
        fragment_length: int,
        *,
        first_env_index: int = 0,
        worker_index: int = 0,
        explore: bool = True,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        """`beat` is called now and then in the course of long episodes."""
        assert env.autoreset == "next_step", "the row behind an end is needed"
        super().__init__(
            env,
            policy,
            fragment_length,
            first_env_index=first_env_index,
            worker_index=worker_index,
            explore=explore,
        )
        self._beat = beat
        self._begun: list[list[Columns]] = [[] for _ in range(env.num_envs)]
        self._versions = [0] * env.num_envs  # that acted at the beginning of what is begun

    def collect(
        self, allocate: Allocate | None = None, unread: frozenset[str] = frozenset()
    ) -> Fragment:
        """As many episodes as are needed; `allocate` is not asked: how long they get is not known
        before. Raises EnvironmentFailure."""
        wanted = self.fragment_length * self.env.num_envs
        whole: list[Columns] = []
        finished: list[Episode] = []
        version, num_env_steps = self.policy.version, 0
        while num_env_steps < wanted:
            fragment = super().collect(unread=unread)
            finished += fragment.episodes
            for env in range(self.env.num_envs):
                for episode, began in self._cut(fragment, env):
                    whole.append(episode)
                    version = min(version, began)
                    num_env_steps += int(np.count_nonzero(episode[c.VALID]))
            self._beat()
        state = self.policy.initial_state(len(whole))
        return Fragment(
            groups=single_group(side_by_side(whole, state, self.env.frame_stack)),
            num_env_steps=num_env_steps,
            policy_version=version,
            episodes=finished,
            worker_index=self.worker_index,
            state_out=state,  # of the last row, which is never a decision
        )

    def _cut(self, fragment: Fragment, env: int) -> list[tuple[Columns, int]]:
        """The environment's episodes that are whole now, and the versions with which they began."""
        columns, found, start = fragment.columns, [], 0
        num_rows = len(columns[c.VALID])
        behind_ends = np.flatnonzero(~columns[c.VALID][:, env]) + 1
        for end in [*behind_ends.tolist(), num_rows]:
            begun = self._begun[env]
            if not begun:
                self._versions[env] = fragment.policy_version
            if end > start:
                begun.append(rows_of(columns, env, start, end))
            if begun and not begun[-1][c.VALID][-1]:
                episode = {name: np.concatenate([x[name] for x in begun]) for name in begun[0]}
                begun.clear()
                if len(episode[c.VALID]) > 1:  # no environment that broke before it began
                    # One that broke in the first row of an inner fragment was told no end.
                    episode[c.TRUNCATEDS][-2] |= not episode[c.TERMINATEDS][-2]
                    found.append((episode, self._versions[env]))
            start = end
        return found


def rows_of(columns: Columns, env: int, start: int, end: int) -> Columns:
    """Rows start..end-1 of one environment, without an axis of environments: [rows, ...] each.
    Copies: the fragment may be large, and what is kept of it small."""
    num_lead_in = len(columns[c.FRAMES]) - len(columns[c.AGE]) if c.FRAMES in columns else 0
    found = {}
    for name, column in columns.items():
        axes = c.axes_of(name)
        first = num_lead_in if axes is c.Axes.FTB else 0
        if axes in (c.Axes.TB, c.Axes.T1B, c.Axes.FTB):
            found[name] = column[first + start : first + end, env].copy()
    return found


def side_by_side(
    episodes: Sequence[Columns], state: tuple[np.ndarray, ...] = (), frame_stack: int = 1
) -> Columns:
    """[T, B] columns (T+1 observations, or frames with those that lead in) of episodes of 1 to T
    rows. `state`: that before the first row, each [B, ...]."""
    num_rows = max(len(episode[c.VALID]) for episode in episodes)
    columns = {c.state_in(i): part for i, part in enumerate(state)}
    for name, like in episodes[0].items():
        axes = c.axes_of(name)
        # Frames that lead in are never looked at: at age 0 there is none before.
        first = frame_stack - 1 if axes is c.Axes.FTB else 0
        rows = first + num_rows + (axes is not c.Axes.TB)
        padding = 1 if name == c.AGE else 0  # nobody begins there
        column = np.full((rows, len(episodes), *like.shape[1:]), padding, like.dtype)
        for b, episode in enumerate(episodes):
            column[first : first + len(episode[name]), b] = episode[name]
        columns[name] = column
    return columns
