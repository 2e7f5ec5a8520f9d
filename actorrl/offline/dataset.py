"""A dataset: a folder of shards and one schema file. NumPy's own format, nothing pickled.

    DIR/schema.json                    columns with dtype and shape of one row, and their source
    DIR/shard-0001-5f3a9c01-000000.npz the [N] columns of some rows: worker, writer, number

A shard appears as a whole or not at all. Rows of one episode lie in one writer's shards in order of
time, under one `eps_id`. Several runs may write into one folder, also at the same time.
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from actorrl.data.sample_batch import SampleBatch
from actorrl.errors import ActorRLError
from actorrl.paths import expanded

FORMAT = 1
_SCHEMA = "schema.json"


class DatasetError(ActorRLError):
    """A dataset is missing, damaged, of other columns than wanted, or cannot be written. Exit code
    2; who starts an actor again finds it as it was."""

    exit_code = 2
    fatal = True


class Column(msgspec.Struct, frozen=True):
    """One row of a column."""

    dtype: str
    shape: tuple[int, ...]
    space: str = ""
    """Of actions, whose numbers mean nothing without it; empty where nobody has said it."""

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}{self.space and f' of {self.space}'}"


class Schema(msgspec.Struct):
    """What a dataset says of itself."""

    format: int
    columns: dict[str, Column]
    about: dict[str, Any] = {}


def columns_of(batch: Mapping[str, np.ndarray]) -> dict[str, Column]:
    return {name: Column(x.dtype.str, x.shape[1:]) for name, x in batch.items()}


def why_unwritable(folder: str | os.PathLike[str]) -> str | None:
    """Makes nothing."""
    path = Path(os.path.abspath(expanded(folder)))
    nearest = next(each for each in (path, *path.parents) if each.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return None
    return f"{nearest} is not a folder that you may write to"


def made(folder: str | os.PathLike[str]) -> Path:
    """The folder, which is there when this returns. Raises DatasetError: with `paths.made`'s
    ConfigError a worker would be started again, and find it as it was."""
    path = expanded(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _unwritten(path, error) from None
    return path


def write_schema(folder: Path, columns: dict[str, Column], about: dict[str, Any]) -> None:
    """Make the folder's schema, or check that the one that is there has the same columns."""
    try:
        known = read_schema(folder).columns
    except FileNotFoundError:
        text = msgspec.json.encode(Schema(FORMAT, columns, about))
        _put(folder / _SCHEMA, msgspec.json.format(text, indent=1))
        return
    if known != columns:
        differing = sorted(
            name for name in known.keys() | columns.keys() if known.get(name) != columns.get(name)
        )
        raise DatasetError(
            f"{folder}: holds other columns than are to be written ({', '.join(differing)}):"
            " choose another folder"
        )


def read_schema(folder: Path) -> Schema:
    """Raises FileNotFoundError where there is none, DatasetError where it cannot be read."""
    path = folder / _SCHEMA
    try:
        text = path.read_bytes()
        version = msgspec.json.decode(text, type=dict[str, Any]).get("format")
        if version != FORMAT:
            raise DatasetError(f"{folder}: format {version}, this version reads {FORMAT}")
        return msgspec.json.decode(text, type=Schema)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{path}: is damaged, it is not a dataset's schema: {error}") from None


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.npz"))


def write_shard(folder: Path, writer: str, number: int, rows: Mapping[str, np.ndarray]) -> Path:
    """On disk when this returns. `writer` is a name that no other writer has."""
    path = folder / f"shard-{writer}-{number:06d}.npz"
    data = io.BytesIO()
    np.savez_compressed(data, allow_pickle=False, **rows)
    _put(path, data.getvalue())
    return path


def read_shard(path: Path, wanted: Mapping[str, Column]) -> SampleBatch:
    """These columns. Raises DatasetError for what is no shard, lacks one or has another."""
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise DatasetError(f"{path}: is cut short, or no shard; remove it to go on without")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                rows = SampleBatch({name: arrays[name] for name in wanted})
    except DatasetError:
        raise
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read: {error}; remove it to go on without") from None
    except Exception as error:  # zipfile's own, which NumPy does not wrap
        raise DatasetError(f"{path}: is damaged: {error}; remove it to go on without") from None
    for name, found in columns_of(rows).items():
        said = wanted[name]
        if (found.dtype, found.shape) != (said.dtype, said.shape):
            raise DatasetError(
                f"{path}: {name!r} is {found}, the schema says {said}; remove it to go on without"
            )
    return rows


def _put(path: Path, data: bytes) -> None:
    """The file appears as a whole: two workers may write the same schema at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise _unwritten(path, error) from None


def _unwritten(path: Path, error: Exception | str) -> DatasetError:
    reason = error.strerror if isinstance(error, OSError) else error
    return DatasetError(f"{path}: cannot be written: {reason}; make room, or choose another folder")
