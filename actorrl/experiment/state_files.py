"""Small files written so that a reader, and a crash, see either the old or the new content."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def write_atomically(path: Path, data: bytes, durable: bool = False) -> None:
    """Replace `path` by `data`; with `durable` it is on disk when this returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by strict, indented JSON of `value`."""
    text = json.dumps(to_strict_json(value), indent=2, allow_nan=False)
    write_atomically(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """The value in `path`, None where there is no file or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def json_line(value: Any) -> str:
    """`value` as one line of strict JSON, with its line end."""
    return json.dumps(to_strict_json(value), allow_nan=False) + "\n"


def append_line(path: Path, line: str) -> None:
    """Append `line` (with its line end); half a line that a crash, or a full disk, left behind is
    removed first. OSError if it cannot be written as a whole.

    One process at a time may append to a file.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            whole = path.read_bytes().rfind(b"\n") + 1
            os.ftruncate(descriptor, whole)
        data = line.encode()
        written = os.write(descriptor, data)
        if written < len(data):  # the disk is full; the half line goes when room is made
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def read_json_lines(path: Path) -> list[Any]:
    """Values of all whole lines in `path`; a line that a crash cut short is left out."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    values = []
    for line in lines:
        try:
            values.append(json.loads(line))
        except ValueError:
            continue
    return values


def to_strict_json(value: Any, key: str = "") -> Any:
    """`value` in JSON's own types: NaN and infinity become null, NumPy's numbers and arrays plain.

    TypeError naming the key of a value that has no such form.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {
            str(k): to_strict_json(v, f"{key}/{k}" if key else str(k)) for k, v in value.items()
        }
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [to_strict_json(item, key) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # an array or a number of another library, such as a tensor
        return to_strict_json(value.tolist(), key)
    raise TypeError(f"{key or 'value'}: {type(value).__name__} cannot be written as JSON")
