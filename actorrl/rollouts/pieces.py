"""Shows the user's callback each episode's rows of a fragment, and takes the rewards it leaves.

Letters: T rows of a fragment, B environments, or lanes of a policy, n rows of a piece.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from actorrl.data import columns as c
from actorrl.data.flattening import flat_columns
from actorrl.data.sample_batch import SampleBatch
from actorrl.errors import EnvironmentFailure
from actorrl.rollouts.callbacks import DefaultCallbacks, call_user, overrides

_NAME = "on_postprocess_trajectory"


class Owner(NamedTuple):
    """Whose a piece is: what an agent did in an episode, as far as it is in the fragment."""

    episode: Any  # as the callbacks see it
    agent: Any


class _Piece(NamedTuple):
    owner: Owner
    policy_id: str
    rows: SampleBatch
    before: SampleBatch  # a copy


class Pieces:
    """Belongs to a worker's watcher of episodes."""

    def __init__(self, callbacks: DefaultCallbacks, worker: Any) -> None:
        self._callbacks = callbacks
        self._worker = worker
        self.are_wanted = overrides(type(callbacks), _NAME)

    def show(
        self,
        groups: Mapping[str, dict[str, np.ndarray]],
        owners: Mapping[str, Sequence[Owner]],
    ) -> None:
        """Call the user for each piece; rewards [T, B] in the columns of each policy are then what
        is left there. `owners` are those of a policy's pieces, column by column, in order of time.
        Raises EnvironmentFailure for anything else that was changed."""
        cut = {name: _cut(name, groups[name], of_policy) for name, of_policy in owners.items()}
        originals = self._originals([piece for pieces in cut.values() for piece in pieces])
        for name, pieces in cut.items():
            left = [self._shown(piece, originals[id(piece.owner.episode)]) for piece in pieces]
            columns = groups[name]
            # rows of a flat view go environment by environment
            columns[c.REWARDS].T[columns[c.VALID].T] = np.concatenate(left)

    def _originals(self, pieces: list[_Piece]) -> dict[int, dict[Any, Any]]:
        """By episode what RLlib calls `original_batches`, of all agents in the fragment."""
        found: dict[int, dict[Any, Any]] = collections.defaultdict(dict)
        for piece in pieces:
            found[id(piece.owner.episode)][piece.owner.agent] = self._original(piece)
        return found

    def _original(self, piece: _Piece) -> tuple[str, Any, SampleBatch]:
        return piece.policy_id, self._worker.policy_map[piece.policy_id], piece.before

    def _shown(self, piece: _Piece, originals: Mapping[Any, Any]) -> np.ndarray:
        """The rewards [n] that the user leaves."""
        rows, given = piece.rows, dict(piece.rows)
        call_user(
            self._callbacks,
            _NAME,
            worker=self._worker,
            episode=piece.owner.episode,
            agent_id=piece.owner.agent,
            policy_id=piece.policy_id,
            policies=self._worker.policy_map,
            postprocessed_batch=rows,
            # its own, where it has left and come back
            original_batches={**originals, piece.owner.agent: self._original(piece)},
        )
        changed = [n for n in rows if n != c.REWARDS and rows[n] is not given.get(n)]
        if changed:
            raise self._refusal(
                f"put {changed[0]!r} into the batch: what is learned from has its rewards alone,"
                " and advantages or n-step rows are made of them afterwards"
            )
        rewards, count = np.asarray(rows.get(c.REWARDS)), len(piece.before)
        if rewards.shape != (count,) or rewards.dtype.kind not in "fiub":
            raise self._refusal(
                f"left rewards of shape {rewards.shape} and type {rewards.dtype}, expected"
                f" {count} numbers"
            )
        with np.errstate(over="ignore"):
            stored: np.ndarray = rewards.astype(np.float32)
        if not np.isfinite(stored).all():
            raise self._refusal("left rewards that are not finite as float32, expected numbers")
        return stored

    def _refusal(self, what: str) -> EnvironmentFailure:
        return EnvironmentFailure(f"{type(self._callbacks).__name__}.{_NAME}() {what}")


def _cut(policy_id: str, columns: dict[str, np.ndarray], owners: Sequence[Owner]) -> list[_Piece]:
    """Of which only rewards can be written to."""
    flat, seq_lens = flat_columns(columns)
    for name, column in flat.items():
        column.flags.writeable = name == c.REWARDS
    pieces = SampleBatch(flat, seq_lens=seq_lens).split_by_episode()
    return [
        _Piece(owner, policy_id, rows, rows.copy())
        for owner, rows in zip(owners, pieces, strict=True)
    ]
