"""Batches from a dataset, in a seeded order, for ever."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from actorrl.data.sample_batch import SampleBatch, concat_samples
from actorrl.offline import dataset
from actorrl.offline.dataset import DatasetError

_POOL_BYTES = 256 * 1024 * 1024


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
        self._names = list(columns)
        self._pool_bytes = pool_bytes
        self._rng = np.random.default_rng(seed)
        self._shards = _find_shards(source, self._names)
        self._left = SampleBatch()
        self._pools = self._endless()

    def row_shape(self, name: str) -> list[int]:
        """Shape of a column without its first axis, as the schema of the first shard has it."""
        shape: list[int] = dataset.read_schema(self._shards[0].parent)["columns"][name]["shape"]
        return shape

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
        return batch

    def _endless(self) -> Iterator[SampleBatch]:
        while True:
            pool: list[SampleBatch] = []
            nbytes = 0
            for index in self._rng.permutation(len(self._shards)):
                rows = dataset.read_shard(self._shards[index], self._names)
                pool.append(rows)
                nbytes += sum(column.nbytes for column in rows.values())
                if nbytes >= self._pool_bytes:
                    yield concat_samples(pool).shuffle(self._rng)
                    pool, nbytes = [], 0
            if pool:
                yield concat_samples(pool).shuffle(self._rng)
            self.num_epochs += 1


def _find_shards(source: str | Path | Sequence[str | Path], names: list[str]) -> list[Path]:
    sources = [source] if isinstance(source, (str, Path)) else list(source)
    found: list[Path] = []
    for one in sources:
        folders = sorted(glob.glob(str(Path(one).expanduser())))
        if not folders:
            raise DatasetError(f"{one}: no such dataset; record one with output=DIR")
        for folder in map(Path, folders):
            _check_columns(folder, names)
            found += dataset.shards(folder)
    if not found:
        raise DatasetError(f"{', '.join(map(str, sources))}: the dataset has no rows yet")
    return found


def _check_columns(folder: Path, names: list[str]) -> None:
    try:
        known = dataset.read_schema(folder)["columns"]
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetError(f"{folder}: is no dataset (it has no schema.json)") from None
    missing = [name for name in names if name not in known]
    if missing:
        raise DatasetError(
            f"{folder}: has no column {', '.join(map(repr, missing))}, it has {', '.join(known)}"
        )
