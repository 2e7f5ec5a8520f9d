"""Steps a vector of environments with a policy, and writes fragments.

Letters: T rows of a fragment, B environments. Called by the rollout worker's `step`, on its one
thread. No Python loop runs over environments.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from actorrl.data import columns as c
from actorrl.data.allocate import Allocate
from actorrl.data.fragment import Episode, Fragment, single_group
from actorrl.envs.failure import failure
from actorrl.envs.numbers import WrongNumber, check_rewards, check_rows
from actorrl.envs.vector import VectorEnv
from actorrl.rollouts.episodes import EpisodeTracker
from actorrl.rollouts.recording import Recording
from actorrl.rollouts.watching import EpisodeWatcher


class Act(Protocol):
    """What a policy returns for B observations, fresh arrays all: a NamedTuple will do."""

    @property
    def actions(self) -> np.ndarray: ...  # [B, ...] in policy space: what is stored
    @property
    def extras(self) -> dict[str, np.ndarray]: ...  # each [B, ...]: a [T, B, ...] column
    @property
    def state(self) -> tuple[np.ndarray, ...]: ...  # each [B, ...]: after these observations


ActFunction = Callable[[np.ndarray, tuple[np.ndarray, ...], bool], Act]


class ActingPolicy(Protocol):
    """What the collector needs of a policy. NumPy in, NumPy out."""

    @property
    def version(self) -> int: ...

    def act(self, obs: np.ndarray, state: tuple[np.ndarray, ...], explore: bool, /) -> Act: ...

    def initial_state(self, num_envs: int, /) -> tuple[np.ndarray, ...]: ...

    def env_actions(self, actions: np.ndarray, /) -> Any: ...  # B actions of the action space

    # See policies/base.py; asked only where some extras are not read.
    def acting_without(self, unread: frozenset[str], /) -> ActFunction: ...

    def complete(self, columns: dict[str, np.ndarray], unread: frozenset[str], /) -> None: ...


class Collector:
    """Cuts the endless run of B environments into fragments of exactly T rows.

    A fragment's end is no end of an episode: recurrent state and what the recording keeps carry on
    into the next one. The observations passed to the policy are the collector's: they hold for the
    call only, and the policy must not write to them.
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
        self._recording = Recording(env, fragment_length, num_lead_in)
        self._state: tuple[np.ndarray, ...] = ()
        self._fresh_state: tuple[np.ndarray, ...] = ()

    def collect(
        self, allocate: Allocate | None = None, unread: frozenset[str] = frozenset()
    ) -> Fragment:
        """The next T x B rows, those that are not valid included. Raises EnvironmentFailure.

        Observations are put where `allocate(shape, dtype)` says. Nobody may write there until the
        next call has asked it for memory, which may be the same: it looks back at the last rows.
        Without it the fragment is its receiver's alone. It lacks `unread` of the policy's extras:
        what nobody reads need not be computed."""
        started = perf_counter()
        if self._recording.carried is None:
            self._start()
        policy, version = self.policy, self.policy.version
        self._recording.begin(allocate or np.empty)
        self._fill(policy.acting_without(unread) if unread else policy.act)
        columns = self._recording.end(is_shared=allocate is not None)
        if unread:
            policy.complete(columns, unread)
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
            num_resets=columns[c.VALID].size - num_env_steps,
            state_out=self._state,
            led_frames=self._recording.frames,
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
        if self._recording.broken:
            broken = np.zeros(ended.shape, np.bool_)
            for t, env, is_cut in self._recording.broken:
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
        self._recording.start(obs)
        self._state = self._fresh_state = self.policy.initial_state(self.env.num_envs)

    def _fill(self, act: ActFunction) -> None:
        """Act and step, T times."""
        recording, columns = self._recording, self._recording.columns
        has_memory = bool(self._state) or self._tell_policy is not None
        looks_at_rows = has_memory or self.watcher is not None or self.env.frame_stack > 1
        for t in range(self.fragment_length):
            if has_memory:
                self._begin_episodes(columns[c.AGE][t])
            if t == 0:
                for i, part in enumerate(self._state):
                    columns[c.state_in(i)] = part.copy()
            before = perf_counter()
            shown = recording.shown(t)
            if self.watcher is not None:
                self.watcher.before_step(columns[c.AGE][t], shown)
            acted = act(shown, self._state, self.explore)
            actions = self.policy.env_actions(acted.actions)
            between = perf_counter()
            result = self.env.step(actions, recording.place(t + 1))
            self.timers["policy_s"] += between - before
            self.timers["env_s"] += perf_counter() - between
            self._state = acted.state
            recording.write_act(t, acted.actions, acted.extras)
            recording.write_result(t, result)
            if looks_at_rows:
                recording.settle(t + 1)
            if self.watcher is not None:
                self.watcher.after_step(columns, t, result.obs)

    def _begin_episodes(self, age: np.ndarray) -> None:
        """Zero the recurrent state of environments that start an episode. Copies: the policy may
        still own the arrays that it returned."""
        first = age == 0
        if first.any():
            if self._tell_policy is not None:
                self._tell_policy(np.flatnonzero(first))
            self._state = tuple(
                np.where(first.reshape(-1, *[1] * (part.ndim - 1)), fresh, part)
                for part, fresh in zip(self._state, self._fresh_state, strict=True)
            )
