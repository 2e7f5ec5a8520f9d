"""Checkpoints: folders that are whole or absent, hashed, and without a byte of pickle.

    checkpoint_000010/
      manifest.json         format version, sequence number, what it is about, sha256 of the others
                            and of all that it says itself
      state.json            the state's plain values (state_tree.py)
      arrays.safetensors    the state's arrays

A checkpoint is written into a hidden folder beside its place, synced, and renamed: a crash at any
moment leaves either a whole one or a hidden leftover, which `CheckpointKeeper` removes. A reader
verifies every hash before it looks at the content.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.numpy

from actorrl.errors import CheckpointError
from actorrl.experiment.atomic_folder import remove_folder, remove_leftovers, replace_folder
from actorrl.experiment.run_folder import RunFolder
from actorrl.experiment.state_tree import join, split
from actorrl.paths import expanded

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
STATE = "state.json"
ARRAYS = "arrays.safetensors"
RECOVERY_KEPT = 2


class FileEntry(msgspec.Struct):
    """One file of a checkpoint."""

    nbytes: int
    sha256: str


class Manifest(msgspec.Struct, kw_only=True):
    """What a checkpoint says of itself."""

    format_version: int
    sequence: int
    """Rises with every checkpoint of a run, of either kind: the highest is the newest."""
    about: dict[str, Any]
    """Algorithm, environment, spaces, counters: whatever the writer wants checked or shown."""
    created: float
    """Seconds since the epoch."""
    files: dict[str, FileEntry]
    sha256: str = ""
    """Of the manifest without it; empty in those that were written before there was one."""


def write_checkpoint(
    folder: str | os.PathLike[str],
    state: Mapping[str, Any],
    about: Mapping[str, Any] | None = None,
    sequence: int = 0,
) -> Path:
    """Write `state` (see state_tree.py) as the checkpoint `folder`, in place of an older one.

    On disk when this returns. TypeError names what cannot be stored. CheckpointError if the disk
    refuses (full, read-only), or if `folder` holds anything but a checkpoint; what was there before
    is untouched then.
    """
    target = Path(folder)
    _refuse_foreign(target)
    contents = encode_state(state)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        sequence=sequence,
        about=dict(about or {}),
        created=time.time(),
        files={name: _entry(data) for name, data in contents.items()},
    )
    contents[MANIFEST] = sealed(manifest)
    try:
        replace_folder(target, contents)
    except OSError as error:
        raise CheckpointError(
            f"{target}: the checkpoint cannot be written ({error.strerror}); earlier ones are kept"
        ) from error
    return target


def read_checkpoint(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The state in `folder`. CheckpointError says what is missing, damaged or unknown."""
    path = expanded(folder)
    manifest = read_manifest(path)
    return decode_state(path, *(_verified(path, name, manifest) for name in (STATE, ARRAYS)))


def decode_state(path: str | os.PathLike[str], text: bytes, array_bytes: bytes) -> dict[str, Any]:
    """The state that two files' content holds. CheckpointError, and nothing else, where it is
    none; `path` is named in it."""
    try:
        arrays = safetensors.numpy.load(array_bytes)
        state = join(json.loads(text), arrays)
    except (safetensors.SafetensorError, ArithmeticError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: its files do not form a state ({error})") from None
    except RecursionError:
        raise CheckpointError(f"{path}: its files do not form a state (too deep)") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: its files do not form a state (no dict)")
    return state


def _meant(path: Path) -> str:
    """Of a run's folder, the checkpoint in it that has the highest number."""
    inside = [*path.glob("checkpoint_*"), *path.glob("checkpoints/checkpoint_*")]
    newest = max(inside, key=lambda found: found.name, default=None)
    return f", did you mean {newest}?" if newest is not None else ", `save()` returns one's path"


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """What the checkpoint `folder` says of itself; its other files are not looked at."""
    path = expanded(folder)
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such checkpoint")
    if not path.is_dir():
        raise CheckpointError(f"{path}: a file, where a checkpoint is a folder with {MANIFEST}")
    try:
        text = (path / MANIFEST).read_bytes()
    except OSError:
        raise CheckpointError(
            f"{path}: has no {MANIFEST}, so it is no checkpoint{_meant(path)}"
        ) from None
    try:
        version = msgspec.json.decode(text, type=dict[str, Any]).get("format_version")
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: format version {version}, this actorrl reads {FORMAT_VERSION}"
            )
        manifest = msgspec.json.decode(text, type=Manifest)
        if manifest.sha256 not in ("", _hash_of(manifest)):
            raise CheckpointError(f"{path}: its {MANIFEST} is damaged, it has not its own sha256")
        return manifest
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path}: its {MANIFEST} is damaged ({error})") from None


def verify(folder: str | os.PathLike[str]) -> Manifest:
    """The manifest of a checkpoint whose files are all whole; else CheckpointError."""
    path = Path(folder)
    manifest = read_manifest(path)
    for name in (STATE, ARRAYS):
        _verified(path, name, manifest)
    return manifest


def require(folder: str | os.PathLike[str], manifest: Manifest, **expected: Any) -> None:
    """CheckpointError if `manifest.about` differs from `expected`, naming key and both values.

    Values are compared as they look after a turn through JSON: a tuple equals a list.
    """
    for key, wanted in expected.items():
        found = manifest.about.get(key)
        if found != json.loads(json.dumps(wanted)):
            raise CheckpointError(f"{folder}: {key} is {found!r}, this run has {wanted!r}")


def newest_whole(run: RunFolder, damaged: list[str] | None = None) -> Path | None:
    """The newest whole checkpoint of either kind; None without one.

    What had to be passed over is added to `damaged`, one sentence each.
    """
    for path in reversed(_by_sequence(run)):
        try:
            verify(path)
            return path
        except CheckpointError as error:
            if damaged is not None:
                damaged.append(str(error))
    return None


class CheckpointKeeper:
    """Writes a run's checkpoints under rising sequence numbers, and removes those not kept.

    keep: how many in checkpoints/ are kept, None for all; recovery/ keeps the newest two.
    """

    def __init__(
        self, run: RunFolder, keep: int | None = None, recovery_interval_s: float = 60.0
    ) -> None:
        self._run = run
        self._keep = keep
        self._recovery_interval_s = recovery_interval_s
        self._sequence = max((_sequence(path) for path in _by_sequence(run)), default=0)
        self._last_recovery: float | None = None
        for folder in (run.checkpoints, run.recovery):
            remove_leftovers(folder)

    def save(self, iteration: int, state: Mapping[str, Any], about: Mapping[str, Any]) -> Path:
        """A checkpoint to keep, checkpoints/checkpoint_000010 for iteration 10."""
        path = self._run.checkpoints / f"checkpoint_{iteration:06d}"
        self._write(path, state, about)
        if self._keep is not None:
            _remove_all_but_newest(self._run.checkpoints, self._keep)
        return path

    def save_recovery(self, state: Mapping[str, Any], about: Mapping[str, Any]) -> Path:
        """A checkpoint for recovery; older ones than the newest two go."""
        path = self._run.recovery / f"recovery_{self._sequence + 1:06d}"
        self._write(path, state, about)
        _remove_all_but_newest(self._run.recovery, RECOVERY_KEPT)
        return path

    def recovery_due(self, now: float) -> bool:
        """Whether there is none yet, or the interval has passed. `now` is monotonic."""
        last = self._last_recovery
        if last is not None and now - last < self._recovery_interval_s:
            return False
        self._last_recovery = now
        return True

    def _write(self, path: Path, state: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        write_checkpoint(path, state, about, self._sequence + 1)
        self._sequence += 1


# ---- files --------------------------------------------------------------------------------------


def encode_state(state: Mapping[str, Any]) -> dict[str, bytes]:
    """Name -> content of the files that hold a state; the inverse of `decode_state`."""
    tree, arrays = split(state)
    text = json.dumps(tree, allow_nan=False)
    return {STATE: text.encode(), ARRAYS: safetensors.numpy.save(arrays)}


def sealed(manifest: Manifest) -> bytes:
    """Content of its file."""
    manifest.sha256 = _hash_of(manifest)
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def _hash_of(manifest: Manifest) -> str:
    said = msgspec.structs.replace(manifest, sha256="")
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()


def _entry(data: bytes) -> FileEntry:
    return FileEntry(len(data), hashlib.sha256(data).hexdigest())


def _verified(path: Path, name: str, manifest: Manifest) -> bytes:
    """Content of a file, once its size and hash are the manifest's."""
    entry = manifest.files.get(name)
    try:
        size = (path / name).stat().st_size
        data = (path / name).read_bytes() if entry and size == entry.nbytes else b""
    except OSError:
        raise CheckpointError(f"{path}: {name} is missing") from None
    if entry is None or size != entry.nbytes:
        wanted = entry.nbytes if entry else "no"
        raise CheckpointError(f"{path}: {name} has {size} bytes, its manifest says {wanted}")
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise CheckpointError(f"{path}: {name} is damaged, its sha256 differs from the manifest's")
    return data


def _refuse_foreign(target: Path) -> None:
    """CheckpointError if replacing `target` would delete what is no checkpoint."""
    if not target.is_dir():
        if target.exists():
            raise CheckpointError(f"{target}: is a file, a checkpoint is a folder")
        return
    foreign = sorted({path.name for path in target.iterdir()} - {MANIFEST, STATE, ARRAYS})
    if foreign:
        raise CheckpointError(
            f"{target}: is a folder with other files ({', '.join(foreign[:3])}), which would be "
            "lost; name a new folder for the checkpoint"
        )


def _by_sequence(run: RunFolder) -> list[Path]:
    """Checkpoints of both kinds, oldest first; damaged manifests count as the oldest."""
    return sorted([*_folders(run.checkpoints), *_folders(run.recovery)], key=_sequence)


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and path.name[0] != ".")


def _sequence(path: Path) -> int:
    try:
        return read_manifest(path).sequence
    except CheckpointError:
        return -1


def _remove_all_but_newest(parent: Path, keep: int) -> None:
    folders = sorted(_folders(parent), key=_sequence)
    for path in folders[: max(0, len(folders) - keep)]:
        remove_folder(path)
