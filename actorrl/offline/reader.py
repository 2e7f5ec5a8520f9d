"""Batches from a dataset, in a seeded order, for ever."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from actorrl.data.sample_batch import SampleBatch, concat_samples
from actorrl.offline import dataset
from actorrl.offline.dataset import Column, DatasetError

_POOL_BYTES = 256 * 1024 * 1024


class _Pool(NamedTuple):
    """The newest: whatever is left of rows is of this one."""

    epoch: Any  # the generator's state before it drew the order of its epoch
    first_shard: int  # in that order
    random: Any  # the generator's state before it was shuffled
    num_rows: int


class DatasetReader:
    """Each epoch takes every row once. Rows are shuffled within a pool of shards that fits in
    `pool_bytes` of memory; a dataset smaller than that is shuffled as a whole."""

    def __init__(
        self,
        source: str | Path | Sequence[str | Path],
        *,
        columns: Sequence[str],
        batch_size: int,
        seed: int = 0,
        pool_bytes: int = _POOL_BYTES,
    ) -> None:
        """`source`: a folder, a pattern of folders, or several. Raises DatasetError if there is
        nothing, or a column is missing."""
        self.batch_size = batch_size
        self.num_epochs = 0
        self._pool_bytes = pool_bytes
        self._rng = np.random.default_rng(seed)
        self._folders = _find_folders(source)
        self.columns = _common_columns(self._folders, list(columns))
        self._left = SampleBatch()
        self._pool: _Pool | None = None
        self._shards = [shard for folder in self._folders for shard in dataset.shards(folder)]
        if not self._shards:
            raise DatasetError(f"{_listed(self._folders)}: the dataset has no rows yet")
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        """With the generator as it is."""
        self._epoch = self._rng.bit_generator.state
        self._order = self._rng.permutation(len(self._shards))
        self._next_shard = 0
        self._has_rows = False

    def about(self) -> list[dict[str, Any]]:
        """What each folder's schema says of the rows' source."""
        return [dataset.read_schema(folder).about for folder in self._folders]

    def __iter__(self) -> Iterator[SampleBatch]:
        while True:
            yield self.next()

    def next(self) -> SampleBatch:
        """`batch_size` rows; those left at an epoch's end come with the next one's first."""
        while self._left.count < self.batch_size:
            self._left = concat_samples([self._left, self._read_pool()])
        batch = self._left.slice(0, self.batch_size)
        self._left = self._left.slice(self.batch_size, self._left.count)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where in which epoch it is, for checkpoints: plain values."""
        if self._pool is None:
            return {}
        return {
            "num_epochs": self.num_epochs,
            "epoch": self._pool.epoch,
            "first_shard": self._pool.first_shard,
            "random": self._pool.random,
            "taken": self._pool.num_rows - self._left.count,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse: each life of a run that is resumed would learn from the first rows again
        otherwise. One pool is read again and no more: of all that an epoch has taken that may last
        longer than an actor may take to start."""
        if not state:
            return
        self.num_epochs = int(state["num_epochs"])
        self._rng.bit_generator.state = state["epoch"]
        self._begin_epoch()
        self._rng.bit_generator.state = state["random"]
        self._next_shard = int(state["first_shard"])
        self._has_rows = self._next_shard > 0
        pool = self._read_pool()
        self._left = pool.slice(int(state["taken"]), pool.count)

    def _read_pool(self) -> SampleBatch:
        """The next shards of the epoch, or of another one if none are left."""
        if self._next_shard >= len(self._order):
            if not self._has_rows:  # or `next` would look for some for ever
                raise DatasetError(f"{_listed(self._folders)}: there is no row in its shards")
            self.num_epochs += 1
            self._begin_epoch()
        first, nbytes = self._next_shard, 0
        pool: list[SampleBatch] = []
        for index in self._order[first:]:
            rows = dataset.read_shard(self._shards[index], self.columns)
            pool.append(rows)
            nbytes += sum(column.nbytes for column in rows.values())
            if nbytes >= self._pool_bytes:
                break
        joined, random = concat_samples(pool), self._rng.bit_generator.state
        self._next_shard += len(pool)
        self._has_rows = self._has_rows or joined.count > 0
        self._pool = _Pool(self._epoch, first, random, joined.count)
        return joined.shuffle(self._rng)


def _find_folders(source: str | Path | Sequence[str | Path]) -> list[Path]:
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    if not sources:
        raise DatasetError("no dataset is named; record one with output=DIR")
    found: list[Path] = []
    for one in sources:
        expanded = os.path.expanduser(one)
        folders = [expanded] if os.path.isdir(expanded) else sorted(glob.glob(expanded))
        if not folders:
            raise DatasetError(f"{one}: no such dataset; record one with output=DIR")
        found += map(Path, folders)
    return found


def _common_columns(folders: list[Path], names: list[str]) -> dict[str, Column]:
    """What all folders have under these names."""
    first = _columns(folders[0], names)
    for folder in folders[1:]:
        for name, column in _columns(folder, names).items():
            if column != first[name]:
                raise DatasetError(
                    f"{folder}: {name!r} is {column} there and {first[name]} in {folders[0]},"
                    " expected datasets of one environment"
                )
    return first


def _columns(folder: Path, names: list[str]) -> dict[str, Column]:
    try:
        known = dataset.read_schema(folder).columns
    except FileNotFoundError:
        raise DatasetError(
            f"{folder}: is no dataset (it has no schema.json), expected a folder recorded with"
            " output=DIR; RLlib's JSON files are not read"
        ) from None
    missing = [name for name in names if name not in known]
    if missing:
        raise DatasetError(
            f"{folder}: has no column {', '.join(map(repr, missing))}, it has {', '.join(known)}"
        )
    return {name: known[name] for name in names}


def _listed(folders: list[Path]) -> str:
    return ", ".join(map(str, folders))
