"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """With home folders in the place of `~` and `~user`; that of a user who does not exist stays as
    it is, as in shells (`Path.expanduser` raises a RuntimeError)."""
    return Path(os.path.expanduser(path))
