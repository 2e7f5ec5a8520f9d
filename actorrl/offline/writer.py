"""What a worker has lived through, appended to a dataset."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.data.sample_batch import SampleBatch, concat_samples
from actorrl.offline import dataset

_COLUMNS = (
    c.OBS,
    c.NEXT_OBS,
    c.ACTIONS,
    c.REWARDS,
    c.TERMINATEDS,
    c.TRUNCATEDS,
    c.ACTION_LOGP,
    c.EPS_ID,
)
_TOKEN_BITS = 31
_EPISODES_PER_WRITER = 1 << 32  # ids of two writers do not meet
MAX_SHARD_BYTES = 16 * 1024 * 1024  # in memory; on disk it is compressed


class DatasetWriter:
    """Collects rows, and writes a shard whenever there are `max_shard_bytes` of them.

    What was not written yet when its process is killed is lost: less than one shard.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        worker_index: int,
        action_space: str = "",
        about: dict[str, Any] | None = None,
        max_shard_bytes: int = MAX_SHARD_BYTES,
    ) -> None:
        """Raises DatasetError if there can be no such folder."""
        self.folder = dataset.made(folder)
        self.num_rows = 0
        token = secrets.randbits(_TOKEN_BITS)  # another for each run and incarnation of a worker
        self._name = f"{worker_index:04d}-{token:08x}"
        self._num_shards = 0
        self._action_space = action_space
        self._about = about or {}
        self._limit = max_shard_bytes
        self._rows: list[SampleBatch] = []
        self._nbytes = 0
        self._ids = _EpisodeIds(token * _EPISODES_PER_WRITER)

    def write(self, fragment: Fragment) -> None:
        """The valid rows of a worker's next fragment, in order of time per environment."""
        ids = self._ids.of(fragment)
        batch = SampleBatch.from_fragment(fragment)
        rows = SampleBatch({name: batch[name] for name in _COLUMNS if name in batch})
        rows[c.EPS_ID] = ids
        self._rows.append(rows)
        self._nbytes += sum(column.nbytes for column in rows.values())
        self.num_rows += rows.count
        if self._nbytes >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Write what is left as a shard of its own."""
        if not self._rows:
            return
        ids = np.concatenate([rows.pop(c.EPS_ID) for rows in self._rows])
        joined = concat_samples(self._rows)
        joined[c.EPS_ID] = ids
        self._rows, self._nbytes = [], 0
        columns = dataset.columns_of(joined)
        columns[c.ACTIONS] = msgspec.structs.replace(columns[c.ACTIONS], space=self._action_space)
        dataset.write_schema(self.folder, columns, self._about)
        dataset.write_shard(self.folder, self._name, self._num_shards, joined)
        self._num_shards += 1


class _EpisodeIds:
    """One id per episode, over fragments: a flat batch alone knows only the pieces in it."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._current = np.empty(0, np.int64)  # [B]

    def of(self, fragment: Fragment) -> np.ndarray:
        """[N] int64, in the order of `SampleBatch.from_fragment`: environment by environment."""
        valid, starts = fragment.columns[c.VALID], fragment.columns[c.AGE][:-1] == 0
        more = valid.shape[1] - len(self._current)  # of whole episodes: all begin in here
        self._current = np.append(self._current, np.full(max(0, more), -1, np.int64))
        columns = []
        for env in range(valid.shape[1]):
            started = starts[:, env] & valid[:, env]
            ids = self._next - 1 + np.cumsum(started)
            ids[np.cumsum(started) == 0] = self._current[env]
            self._next += int(started.sum())
            self._current[env] = ids[-1]
            columns.append(ids[valid[:, env]])
        return np.concatenate(columns).astype(np.int64)
