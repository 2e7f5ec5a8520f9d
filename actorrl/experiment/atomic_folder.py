"""Folders that appear as a whole or not at all, as state_files.py does for single files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from actorrl import failpoints
from actorrl.experiment.state_files import sync_folder


def replace_folder(target: Path, contents: Mapping[str, bytes]) -> None:
    """Put a folder with the files `contents` at `target`; it is on disk when this returns.

    OSError if the disk refuses; what was there before is untouched then.
    """
    temporary = _hidden(target, "new")
    try:
        _write_folder(temporary, contents)
        _put_in_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Remove a folder. Hidden first: a removal cut short must not leave what looks damaged."""
    if failpoints.ACTIVE:
        failpoints.reach("checkpoint.before_removal")
    hidden = _hidden(path, "old")
    os.rename(path, hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Remove what a crash in the functions above left in `parent`."""
    for purpose in ("new", "old"):
        for path in parent.glob(f".*.{purpose}"):
            shutil.rmtree(path, ignore_errors=True)


def _write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    for name, data in contents.items():
        with open(folder / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if failpoints.ACTIVE:
            failpoints.reach("checkpoint.after_file")
    sync_folder(folder)
    if failpoints.ACTIVE:
        failpoints.reach("checkpoint.after_tmp")


def _put_in_place(new: Path, target: Path) -> None:
    """Rename `new` to `target`; an older checkpoint of that name is set aside, then removed."""
    old = _hidden(target, "old")
    if target.exists():
        # Between the two renames `target` is absent: a crash here costs this name, not the others.
        os.rename(target, old)
        if failpoints.ACTIVE:
            failpoints.reach("checkpoint.between_renames")
    os.rename(new, target)
    sync_folder(target.parent)
    if failpoints.ACTIVE:
        failpoints.reach("checkpoint.after_rename")
    shutil.rmtree(old, ignore_errors=True)


def _hidden(target: Path, purpose: str) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{purpose}")
