"""Steps a vector of environments with a policy, and writes fragments.

Letters: T rows of a fragment, B environments, k frames in a stack. Called by the rollout worker's
`step`, on its one thread. No Python loop runs over environments.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Protocol

import numpy as np

from actorrl import copies
from actorrl.data import columns as c
from actorrl.data.allocate import Allocate
from actorrl.data.fragment import Episode, Fragment, single_group
from actorrl.data.frame_stack import frame_rows
from actorrl.envs.failure import failure
from actorrl.envs.numbers import WrongNumber, check_rewards, check_rows
from actorrl.envs.vector import StepResult, VectorEnv
from actorrl.rollouts.episodes import EpisodeTracker
from actorrl.rollouts.watching import EpisodeWatcher


class Act(Protocol):
    """What a policy returns for B observations, fresh arrays all: a NamedTuple will do."""

    @property
    def actions(self) -> np.ndarray: ...  # [B, ...] in policy space: what is stored
    @property
    def extras(self) -> dict[str, np.ndarray]: ...  # each [B, ...]: a [T, B, ...] column
    @property
    def state(self) -> tuple[np.ndarray, ...]: ...  # each [B, ...]: after these observations


class ActingPolicy(Protocol):
    """What the collector needs of a policy. NumPy in, NumPy out."""

    @property
    def version(self) -> int: ...

    def act(self, obs: np.ndarray, state: tuple[np.ndarray, ...], explore: bool, /) -> Act: ...

    def initial_state(self, num_envs: int, /) -> tuple[np.ndarray, ...]: ...

    def env_actions(self, actions: np.ndarray, /) -> Any: ...  # B actions of the action space


class Collector:
    """Cuts the endless run of B environments into fragments of exactly T rows.

    A fragment's end is no end of an episode: observation, age, recurrent state and lead-in frames
    carry on into the next one. The observations passed to the policy are the collector's: they
    hold for the call only, and the policy must not write to them.
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
        num_lead_in: int = 0,
    ) -> None:
        """`num_lead_in`: rows before the fragment whose frames its receiver needs as well."""
        if fragment_length < 1:
            raise ValueError(f"a fragment needs at least one row, not {fragment_length}")
        self.env = env
        self.policy = policy
        self.fragment_length = fragment_length
        self.worker_index = worker_index
        self.explore = explore
        self.num_steps_total = 0  # valid rows of all fragments
        self.timers = {"env_s": 0.0, "policy_s": 0.0, "total_s": 0.0}  # sums of seconds
        self.tracker = EpisodeTracker(env.num_envs, first_env_index)
        self.watcher: EpisodeWatcher | None = None  # calls the user's callbacks, step by step
        self._tell_policy = getattr(policy, "episodes_begin", None)  # of those that want to know
        self._env_columns = np.arange(env.num_envs)
        self._same_step = env.autoreset == "same_step"
        # What the next fragment starts from, or None before the first reset: [1, B, ...], or the
        # last k frames and more [num_lead_in + k, B, H, W].
        self._num_carried = env.frame_stack + (num_lead_in if env.frame_stack > 1 else 0)
        self._carried: np.ndarray | None = None
        self._frames: np.ndarray | None = None
        self._age = np.zeros(env.num_envs, np.int32)
        self._ended = np.zeros(env.num_envs, np.bool_)  # did the last row end an episode?
        self._broken: list[tuple[int, int, bool]] = []  # of the fragment: row, environment, cut
        self._state: tuple[np.ndarray, ...] = ()
        self._fresh_state: tuple[np.ndarray, ...] = ()

    def collect(self, allocate: Allocate | None = None) -> Fragment:
        """The next T x B rows, those that are not valid included. Raises EnvironmentFailure.

        Observations are put where `allocate(shape, dtype)` says. Nobody may write there until the
        next call has asked it for memory, which may be the same: it looks back at the last rows.
        Without it the fragment is its receiver's alone."""
        started = perf_counter()
        if self._carried is None:
            self._start()
        version = self.policy.version
        columns = self._allocate(allocate or np.empty)
        self._fill(columns)
        self._carry(columns, is_shared=allocate is not None)
        self._check_numbers(columns)
        num_env_steps = int(np.count_nonzero(columns[c.VALID]))
        self.num_steps_total += num_env_steps
        self.timers["total_s"] += perf_counter() - started
        return Fragment(
            groups=single_group(columns),
            num_env_steps=num_env_steps,
            policy_version=version,
            episodes=self._finished_episodes(columns),
            worker_index=self.worker_index,
            state_out=self._state,
            led_frames=self._frames,
        )

    def _check_numbers(self, columns: dict[str, np.ndarray]) -> None:
        """Our own loop over environments has checked each step; a vectoriser of theirs has not."""
        try:
            if self.env.frame_stack == 1:
                check_rows(columns[c.OBS], "step")
            check_rewards(columns[c.REWARDS])
        except WrongNumber as error:
            raise failure(error, "step", self.worker_index + 1, error.env_index) from error

    def _finished_episodes(self, columns: dict[str, np.ndarray]) -> list[Episode]:
        ended = columns[c.TERMINATEDS] | columns[c.TRUNCATEDS]
        broken = None
        if self._broken:
            broken = np.zeros(ended.shape, np.bool_)
            for t, env, is_cut in self._broken:
                broken[t, env] = True
                if is_cut:
                    ended[t - 1, env] = False  # no end of its own
        episodes = self.tracker.add(columns[c.REWARDS], ended, columns[c.VALID], broken)
        if self.watcher is not None:
            for episode, metrics in zip(episodes, self.watcher.end_fragment(columns), strict=True):
                episode.custom_metrics = metrics
        return episodes

    def _start(self) -> None:
        """Reset the environments; each first observation has age 0."""
        if self.watcher is not None:
            self.watcher.before_reset(self.env.num_envs)
        obs = self.env.reset()
        self._carried = np.broadcast_to(obs, (self._num_carried, *obs.shape))
        self._state = self._fresh_state = self.policy.initial_state(self.env.num_envs)

    def _allocate(self, allocate: Allocate) -> dict[str, np.ndarray]:
        """Fresh arrays, with the observations that the fragment starts from already in place.

        Never reuse a sent fragment's arrays: they may still be on their way.
        """
        assert self._carried is not None
        rows, envs = self.fragment_length, self.env.num_envs
        columns = {
            c.AGE: np.empty((rows + 1, envs), np.int32),
            c.REWARDS: np.empty((rows, envs), np.float32),
            c.TERMINATEDS: np.empty((rows, envs), np.bool_),
            c.TRUNCATEDS: np.empty((rows, envs), np.bool_),
            c.VALID: np.empty((rows, envs), np.bool_),
        }
        columns[c.AGE][0] = self._age
        shape, num_carried = self._carried.shape[1:], self._num_carried
        observed = allocate((num_carried + rows, *shape), self._carried.dtype)
        # Before anything else is written: both may be the same memory.
        np.copyto(observed[:num_carried], self._carried)
        if self.env.frame_stack == 1:
            columns[c.OBS] = observed
        else:
            self._frames = observed
            columns[c.FRAMES] = observed[num_carried - self.env.frame_stack :]
        return columns

    def _fill(self, columns: dict[str, np.ndarray]) -> None:
        """Act and step, T times."""
        finals: list[tuple[np.ndarray, np.ndarray]] = []
        self._broken.clear()
        for t in range(self.fragment_length):
            self._begin_episodes(columns[c.AGE][t])
            if t == 0:
                for i, part in enumerate(self._state):
                    columns[c.state_in(i)] = part.copy()
            before = perf_counter()
            shown = self._policy_input(columns, t)
            if self.watcher is not None:
                self.watcher.before_step(columns[c.AGE][t], shown)
            act = self.policy.act(shown, self._state, self.explore)
            actions = self.policy.env_actions(act.actions)
            between = perf_counter()
            result = self.env.step(actions, self._place(columns, t + 1))
            self.timers["policy_s"] += between - before
            self.timers["env_s"] += perf_counter() - between
            self._state = act.state
            self._write_act(columns, t, act)
            self._write_result(columns, t, result)
            if self.watcher is not None:
                self.watcher.after_step(columns, t, result.obs)
            if result.final_envs is not None and len(result.final_envs):
                assert result.final_obs is not None
                finals.append((result.final_obs, result.final_envs + t * self.env.num_envs))
        if self._same_step:
            self._write_finals(columns, finals)

    def _begin_episodes(self, age: np.ndarray) -> None:
        """Zero the recurrent state of environments that start an episode. Copies: the policy may
        still own the arrays that it returned."""
        if not self._state and self._tell_policy is None:
            return
        first = age == 0
        if first.any():
            if self._tell_policy is not None:
                self._tell_policy(np.flatnonzero(first))
            self._state = tuple(
                np.where(first.reshape(-1, *[1] * (part.ndim - 1)), fresh, part)
                for part, fresh in zip(self._state, self._fresh_state, strict=True)
            )

    def _policy_input(self, columns: dict[str, np.ndarray], t: int) -> np.ndarray:
        """The observations [B, ...] of row t, stacked [B, k, H, W] where frames are stored."""
        k = self.env.frame_stack
        if k == 1:
            return columns[c.OBS][t]
        rows = frame_rows(np.full(self.env.num_envs, k - 1 + t), columns[c.AGE][t], k)
        return columns[c.FRAMES][rows, self._env_columns[:, None]]

    def _place(self, columns: dict[str, np.ndarray], t: int) -> np.ndarray:
        """Where the environments' observations [B, ...] of row t go."""
        k = self.env.frame_stack
        found: np.ndarray = columns[c.OBS][t] if k == 1 else columns[c.FRAMES][k - 1 + t]
        return found

    def _write_act(self, columns: dict[str, np.ndarray], t: int, act: Act) -> None:
        if t == 0:
            for name, value in ((c.ACTIONS, act.actions), *act.extras.items()):
                columns[name] = np.empty((self.fragment_length, *value.shape), value.dtype)
        columns[c.ACTIONS][t] = act.actions
        for name, value in act.extras.items():
            columns[name][t] = value

    def _write_result(self, columns: dict[str, np.ndarray], t: int, result: StepResult) -> None:
        """Row t's outcome, and the observation of row t + 1.

        Under NEXT_STEP the step after an end only resets, so its row is no decision. If both flags
        are set, terminated wins: there is no value after it.
        """
        ended_before = self._ended
        terminateds = result.terminateds
        truncateds = result.truncateds & ~terminateds
        ended = terminateds | truncateds
        age = columns[c.AGE]
        columns[c.TERMINATEDS][t] = terminateds
        columns[c.TRUNCATEDS][t] = truncateds
        if self._same_step:
            columns[c.VALID][t] = True
            columns[c.REWARDS][t] = result.rewards
            np.multiply(age[t] + 1, ~ended, out=age[t + 1])
        else:
            valid = np.logical_not(ended_before, out=columns[c.VALID][t])
            np.multiply(result.rewards, valid, out=columns[c.REWARDS][t])
            np.multiply(age[t] + 1, valid, out=age[t + 1])
        self._ended = ended
        if result.broken_envs is not None:
            for env in result.broken_envs.tolist():
                self._write_broken(columns, t, env)

    def _write_broken(self, columns: dict[str, np.ndarray], t: int, env: int) -> None:
        """An environment broke in row t: the row is no decision, and the episode is cut before it,
        as a truncation would. (Where the row before is in the last fragment, that one ended there
        anyway, and n-step tails find the row that is no decision.)"""
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
        self._broken.append((t, env, is_cut))

    def _write_finals(
        self, columns: dict[str, np.ndarray], finals: list[tuple[np.ndarray, np.ndarray]]
    ) -> None:
        """SAME_STEP: the observations that the resets replaced, and the rows they belong to."""
        name = c.OBS if self.env.frame_stack == 1 else c.FRAMES
        shape, dtype = columns[name].shape[2:], columns[name].dtype
        if finals:
            columns[c.FINAL_OBS] = np.concatenate([obs for obs, _ in finals]).astype(
                dtype, copy=False
            )
            columns[c.FINAL_ROWS] = np.concatenate([rows for _, rows in finals]).astype(np.int64)
        else:
            columns[c.FINAL_OBS] = np.empty((0, *shape), dtype)
            columns[c.FINAL_ROWS] = np.empty(0, np.int64)

    def _carry(self, columns: dict[str, np.ndarray], is_shared: bool) -> None:
        """What the next fragment starts from, and how often observations were copied in this one:
        once, be they the environment's or carried on."""
        observed = columns[c.OBS] if self._frames is None else self._frames
        self._carried = observed[-self._num_carried :]
        if not is_shared:
            self._carried = self._carried.copy()
        self._age = columns[c.AGE][-1].copy()
        if copies.COUNTING:
            again = 0 if is_shared else self._carried.nbytes
            copies.note("fragment", c.OBS, observed.nbytes, observed.nbytes + again)
            if c.FINAL_OBS in columns:
                copies.note("fragment", c.FINAL_OBS, columns[c.FINAL_OBS].nbytes)
