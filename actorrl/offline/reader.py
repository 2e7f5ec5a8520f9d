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


class _Epoch(NamedTuple):
    """The newest: whatever is left of rows is of this one."""

    place: int  # of its first row, among all that are read
    random: Any  # the generator's state before it


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
        self._shards = [shard for folder in self._folders for shard in dataset.shards(folder)]
        if not self._shards:
            raise DatasetError(f"{_listed(self._folders)}: the dataset has no rows yet")
        self._begin()

    def _begin(self) -> None:
        """An epoch, with the generator as it is."""
        self._left = SampleBatch()
        self._place = 0  # of the first row that is left, among all that are read
        self._epoch: _Epoch | None = None
        self._pools = self._endless()

    def about(self) -> list[dict[str, Any]]:
        """What each folder's schema says of the rows' source."""
        return [dataset.read_schema(folder).about for folder in self._folders]

    def __iter__(self) -> Iterator[SampleBatch]:
        while True:
            yield self.next()

    def next(self) -> SampleBatch:
        """`batch_size` rows; those left at an epoch's end come with the next one's first."""
        while self._left.count < self.batch_size:
            pool = next(self._pools)
            self._left = concat_samples([self._left, pool])
        batch = self._left.slice(0, self.batch_size)
        self._left = self._left.slice(self.batch_size, self._left.count)
        self._place += self.batch_size
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Where in which epoch it is, for checkpoints: plain values."""
        if self._epoch is None:
            return {}
        taken = self._place - self._epoch.place
        return {"random": self._epoch.random, "num_epochs": self.num_epochs, "taken": taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse: rows that were taken of that epoch are read once more, and passed over. Each
        life of a run that is resumed would learn from the first rows again otherwise."""
        if not state:
            return
        self._rng.bit_generator.state = state["random"]
        self.num_epochs = int(state["num_epochs"])
        self._begin()
        while self._place < state["taken"]:
            self._left = next(self._pools)
            passed = min(self._left.count, int(state["taken"]) - self._place)
            self._left = self._left.slice(passed, self._left.count)
            self._place += passed

    def _endless(self) -> Iterator[SampleBatch]:
        while True:
            place = self._place + self._left.count
            self._epoch = _Epoch(place, self._rng.bit_generator.state)
            pool: list[SampleBatch] = []
            nbytes = num_rows = 0
            for index in self._rng.permutation(len(self._shards)):
                rows = dataset.read_shard(self._shards[index], self.columns)
                pool.append(rows)
                num_rows += rows.count
                nbytes += sum(column.nbytes for column in rows.values())
                if nbytes >= self._pool_bytes:
                    yield concat_samples(pool).shuffle(self._rng)
                    pool, nbytes = [], 0
            if not num_rows:  # or `next` would look for some for ever
                raise DatasetError(f"{_listed(self._folders)}: there is no row in its shards")
            if pool:
                yield concat_samples(pool).shuffle(self._rng)
            self.num_epochs += 1


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
