"""Shows the user's callback each episode's rows of a fragment, and takes the rewards it leaves.

Letters: T rows of a fragment, B environments, n rows of a piece, N of all pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from actorrl.data import columns as c
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.flattening import flat_columns
from actorrl.data.sample_batch import SampleBatch
from actorrl.errors import EnvironmentFailure
from actorrl.rollouts.callbacks import DefaultCallbacks, call_user, overrides

if TYPE_CHECKING:
    from actorrl.rollouts.watching import RunningEpisode

_NAME = "on_postprocess_trajectory"
_AGENT = "agent0"  # RLlib's, where there is one


class Pieces:
    """Belongs to a worker's EpisodeWatcher."""

    def __init__(self, callbacks: DefaultCallbacks, worker: Any) -> None:
        self._callbacks = callbacks
        self._worker = worker
        self._is_wanted = overrides(type(callbacks), _NAME)
        self._episodes: dict[int, list[RunningEpisode]] = {}  # with rows in this fragment

    def note(self, episode: RunningEpisode) -> None:
        """It has a row in this fragment."""
        if self._is_wanted:
            of_env = self._episodes.setdefault(episode.env_id, [])
            if not of_env or of_env[-1] is not episode:
                of_env.append(episode)

    def show(self, columns: dict[str, np.ndarray]) -> None:
        """Call the user for each piece; rewards [T, B] in `columns` are then what is left there.
        Raises EnvironmentFailure for anything else that was changed."""
        if not self._episodes:
            return
        rows, seq_lens = flat_columns(columns)
        for name, column in rows.items():
            column.flags.writeable = name == c.REWARDS
        pieces = SampleBatch(rows, seq_lens=seq_lens).split_by_episode()
        episodes = [e for _, of_env in sorted(self._episodes.items()) for e in of_env]
        self._episodes.clear()
        left = [self._shown(e, piece) for e, piece in zip(episodes, pieces, strict=True)]
        # rows of a flat view go environment by environment
        columns[c.REWARDS].T[columns[c.VALID].T] = np.concatenate(left)

    def _shown(self, episode: RunningEpisode, piece: SampleBatch) -> np.ndarray:
        """The rewards [n] that the user leaves."""
        policies = self._worker.policy_map
        before = piece.copy()
        given = dict(piece)
        call_user(
            self._callbacks,
            _NAME,
            worker=self._worker,
            episode=episode,
            agent_id=_AGENT,
            policy_id=DEFAULT_POLICY,
            policies=policies,
            postprocessed_batch=piece,
            original_batches={_AGENT: (DEFAULT_POLICY, policies[DEFAULT_POLICY], before)},
        )
        changed = [n for n in piece if n != c.REWARDS and piece[n] is not given.get(n)]
        if changed:
            raise self._refusal(
                f"put {changed[0]!r} into the batch: what is learned from has its rewards alone,"
                " and advantages or n-step rows are made of them afterwards"
            )
        rewards = np.asarray(piece.get(c.REWARDS))
        if rewards.shape != (len(before),) or rewards.dtype.kind not in "fiub":
            raise self._refusal(
                f"left rewards of shape {rewards.shape} and type {rewards.dtype}, expected"
                f" {len(before)} numbers"
            )
        with np.errstate(over="ignore"):
            stored: np.ndarray = rewards.astype(np.float32)
        if not np.isfinite(stored).all():
            raise self._refusal("left rewards that are not finite as float32, expected numbers")
        return stored

    def _refusal(self, what: str) -> EnvironmentFailure:
        return EnvironmentFailure(f"{type(self._callbacks).__name__}.{_NAME}() {what}")
