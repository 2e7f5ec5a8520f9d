"""A dataset: a folder of shards and one schema file. NumPy's own format, nothing pickled.

    DIR/schema.json           columns with dtype and shape of one row, and where they come from
    DIR/shard-0001-000000.npz the [N] columns of some rows: worker, number

A shard appears as a whole or not at all. Rows of one episode lie in one worker's shards in order of
time, under one `eps_id`.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from actorrl.data.sample_batch import SampleBatch
from actorrl.errors import ActorRLError

FORMAT = 1
_SCHEMA = "schema.json"


class DatasetError(ActorRLError):
    """A dataset is missing, damaged, or of other columns than wanted. Exit code 2."""

    exit_code = 2


def columns_of(batch: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Column -> dtype and shape of one row, as the schema has them."""
    return {
        name: {"dtype": column.dtype.str, "shape": list(column.shape[1:])}
        for name, column in batch.items()
    }


def write_schema(folder: Path, columns: dict[str, dict[str, Any]], about: dict[str, Any]) -> None:
    """Make the folder's schema, or check that the one that is there has the same columns."""
    try:
        known = read_schema(folder)["columns"]
    except FileNotFoundError:
        text = json.dumps({"format": FORMAT, "columns": columns, "about": about}, indent=1)
        _put(folder / _SCHEMA, text.encode())
        return
    if known != columns:
        differing = sorted(
            name for name in known.keys() | columns.keys() if known.get(name) != columns.get(name)
        )
        raise DatasetError(
            f"{folder}: holds other columns than are to be written ({', '.join(differing)}):"
            " choose another folder"
        )


def read_schema(folder: Path) -> dict[str, Any]:
    """Raises FileNotFoundError where there is none, DatasetError where it cannot be read."""
    text = (folder / _SCHEMA).read_text()
    try:
        schema: dict[str, Any] = json.loads(text)
        if schema["format"] != FORMAT:
            raise DatasetError(f"{folder}: format {schema['format']}, this version reads {FORMAT}")
        return schema
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{folder / _SCHEMA}: not a dataset's schema: {error}") from None


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.npz"))


def write_shard(folder: Path, worker: int, rows: Mapping[str, np.ndarray]) -> Path:
    """The worker's next shard, on disk when this returns."""
    taken = [int(path.stem.rpartition("-")[2]) for path in folder.glob(f"shard-{worker:04d}-*.npz")]
    path = folder / f"shard-{worker:04d}-{max(taken, default=-1) + 1:06d}.npz"
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **rows)
    _put(path, data.getvalue())
    return path


def read_shard(path: Path, names: list[str]) -> SampleBatch:
    """Raises DatasetError for what is no shard, or lacks a column."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return SampleBatch({name: file[name] for name in names})
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}; remove it to go on without") from None
    except Exception as error:  # zipfile's own, which NumPy does not wrap
        raise DatasetError(f"{path}: is damaged: {error}; remove it to go on without") from None


def _put(path: Path, data: bytes) -> None:
    """The file appears as a whole: two workers may write the same schema at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    os.replace(temporary, path)
