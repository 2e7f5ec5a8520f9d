"""The directory of a run's sockets: only this user can enter it, and it goes with the run.

Its process (the driver; the agent of another host) keeps a lock on it, which the kernel takes back
whoever is killed. What is locked is in use, also where its processes cannot be seen: containers may
share a TMP and no list of processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from pathlib import Path

from actorrl.errors import RunFailed
from actorrl.runtime import strays

_PATH_LIMIT = 107  # bytes of a Unix socket's path
_YOUNG_S = 60.0
_LONGEST_NAME = 32  # of a socket in it: slot, incarnation, control lane; multiprocessing's needs 32
_held: dict[Path, int] = {}  # this process's own, with the descriptors that lock them
_early: set[Path] = set()  # of them, those whose run has not asked for them yet


def make(run_id: str, slots: list[str]) -> Path:
    """TMP/actorrl-UID/RUN_ID, new or made early for this run. Raises RunFailed saying what is in
    the way."""
    base = _base()
    path = base / run_id
    longest = max([_LONGEST_NAME, *(len(slot.encode()) + 8 for slot in slots)])
    if len(os.fsencode(path)) + 1 + longest > _PATH_LIMIT:
        raise RunFailed(f"{path} is too long a path for sockets: set TMPDIR to a shorter one")
    if path in _early:
        _early.remove(path)
        return path
    try:
        base.mkdir(mode=0o700, exist_ok=True)
        status = base.lstat()
        if (
            not stat.S_ISDIR(status.st_mode)
            or status.st_uid != os.getuid()
            or status.st_mode & 0o077
        ):
            raise RunFailed(f"{base} is not a directory of this user alone: remove it")
        _sweep(base)
        path.mkdir(mode=0o700)
        with contextlib.suppress(OSError):  # where a file system has no locks, nothing is swept
            _held[path] = _lock(path)
    except FileExistsError:
        raise RunFailed(f"{path} is there already: another run has the same id") from None
    except OSError as error:
        raise RunFailed(
            f"no directory for sockets: {error}; set TMPDIR to a writable one"
        ) from None
    return path


def make_early(run_id: str) -> Path:
    """The same before the run's slots are known; its `make` returns it."""
    path = make(run_id, [])
    _early.add(path)
    return path


def _base() -> Path:
    try:
        return Path(tempfile.gettempdir()) / f"actorrl-{os.getuid()}"
    except FileNotFoundError as error:
        raise RunFailed(f"no directory for sockets: {error.strerror}; set TMPDIR to one") from None


def make_another(run_id: str, slots: list[str]) -> Path:
    """The same for the agent of another host: TMP/actorrl-UID/RUN_ID@RANDOM. What a killed
    predecessor has left is removed."""
    for path in _base().glob(f"{run_id}@*"):
        _remove_unless_held(path)
    return make(f"{run_id}@{secrets.token_hex(4)}", slots)


def remove(path: Path) -> None:
    """With what killed agents of further hosts on this machine have left."""
    for each in (path, *path.parent.glob(f"{path.name}@*")):
        shutil.rmtree(each, ignore_errors=True)
    _early.discard(path)
    if path in _held:
        os.close(_held.pop(path))


def clear(run_id: str, patience_s: float) -> None:
    """End and remove what is left of a run on this machine, if its driver and its agent were both
    killed."""
    strays.kill_run(run_id, patience_s)
    remove(_base() / run_id)


def _sweep(base: Path) -> None:
    """Remove what runs have left whose driver and agent were both killed. A run that is just being
    started has neither a lock nor a process yet: young directories stay."""
    for path in base.iterdir():
        try:
            is_old = time.time() - path.lstat().st_mtime > _YOUNG_S
        except FileNotFoundError:  # its own run was quicker
            continue
        # the agent of a dead driver removes it itself
        if is_old and not strays.of_run(path.name.partition("@")[0]):
            _remove_unless_held(path)


def _remove_unless_held(path: Path) -> None:
    try:
        lock = _lock(path)
    except OSError:  # somebody's, gone meanwhile, or no directory
        return
    try:
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _lock(path: Path) -> int:
    """Raises BlockingIOError where another process has it, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
