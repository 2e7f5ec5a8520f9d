"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path

from actorrl.errors import ConfigError


def expanded(path: str | os.PathLike[str]) -> Path:
    """With home folders in the place of `~` and `~user`; that of a user who does not exist stays as
    it is, as in shells (`Path.expanduser` raises a RuntimeError)."""
    return Path(os.path.expanduser(path))


def made(key: str, folder: Path) -> Path:
    """The folder, which is there when this returns. Raises ConfigError that names `key`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{key}: {folder} cannot be made ({error.strerror}), expected a folder, or where one"
            " can be made"
        ) from error
    return folder
