"""One live driver per run folder, and which runs of this user are alive.

The folder's owner.json names the driver by pid, start and host: a pid alone may have been given to
another process since, and a time of day is another one once the clock was set. Beside it, a small
file per live run in the user's state folder finds runs whose results lie anywhere.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from actorrl.errors import RunFolderError
from actorrl.experiment.state_files import read_json, write_json

OWNER_FILE = "owner.json"
STATUS_FILE = "status.json"
REMOTE_SILENCE_S = 60.0
"""A driver on another machine cannot be looked up; it counts as gone when its status.json is older
than this. An owner touches it far more often (`sign_of_life`), whatever it is busy with."""


class Owner(msgspec.Struct, kw_only=True):
    """The driver that a run folder belongs to."""

    pid: int
    started: str
    """When the process was, in words that no change of the clock alters (`start_of`)."""
    hostname: str
    run_id: str

    def is_process_of(self, other: Owner) -> bool:
        """Whatever the run: a pid alone may be another machine's, or have been given anew."""
        mine, theirs = ((owner.hostname, owner.pid, owner.started) for owner in (self, other))
        return mine == theirs


def this_process(run_id: str) -> Owner:
    """The calling process as an owner."""
    pid = os.getpid()
    return Owner(pid=pid, started=start_of(pid), hostname=socket.gethostname(), run_id=run_id)


def read_owner(folder: Path) -> Owner | None:
    """The owner that `folder` names, alive or not."""
    try:
        return msgspec.convert(read_json(folder / OWNER_FILE), Owner)
    except msgspec.ValidationError:
        return None


def dead_run(folder: Path) -> str | None:
    """The id of the run whose driver on this machine has ended without giving up `folder`."""
    owner = read_owner(folder)
    if owner is None or owner.hostname != socket.gethostname() or _is_running(owner):
        return None
    return owner.run_id


def live_owner(folder: Path, now: float | None = None) -> Owner | None:
    """The owner of `folder` if it is alive."""
    owner = read_owner(folder)
    if owner is None:
        return None
    if owner.hostname != socket.gethostname():
        alive = _status_age_s(folder, time.time() if now is None else now) < REMOTE_SILENCE_S
    else:
        alive = _is_running(owner)
    return owner if alive else None


def take_ownership(folder: Path, run_id: str) -> Owner:
    """Make the calling process the owner; RunFolderError naming a live owner other than it."""
    mine = this_process(run_id)
    with _locked(folder):
        other = live_owner(folder)
        if other is not None and not other.is_process_of(mine):
            raise RunFolderError(
                f"{folder}: belongs to a live driver, pid {other.pid} on {other.hostname}. "
                f"Stop that one first (actorrl stop {folder.name}, or Ctrl-C in its terminal)."
            )
        try:
            write_json(folder / OWNER_FILE, msgspec.to_builtins(mine))
        except OSError as error:
            raise RunFolderError(f"{folder}: cannot be written to ({error.strerror})") from error
    _register(folder, mine)
    return mine


def give_up_ownership(folder: Path) -> None:
    """Undo `take_ownership`; nothing happens if another process is the owner."""
    owner = read_owner(folder)
    if owner is not None and owner.is_process_of(this_process(owner.run_id)):
        (folder / OWNER_FILE).unlink(missing_ok=True)
        _registration(folder).unlink(missing_ok=True)


def live_runs(results_dir: Path | None = None) -> list[Path]:
    """Folders of the user's live runs: the registered ones, and those in `results_dir`."""
    folders: dict[Path, None] = {}
    for entry in sorted(state_folder().glob("*.json")):
        folder = Path(str((read_json(entry) or {}).get("folder", "")))
        if folder.is_absolute() and live_owner(folder) is not None:
            folders[folder.resolve()] = None
        else:
            entry.unlink(missing_ok=True)
    for owner_file in sorted(results_dir.glob(f"*/{OWNER_FILE}")) if results_dir else []:
        if live_owner(owner_file.parent) is not None:
            folders[owner_file.parent.resolve()] = None
    return list(folders)


def state_folder() -> Path:
    """Where live runs are noted: below XDG_STATE_HOME, else ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "actorrl" / "live"


def _register(folder: Path, owner: Owner) -> None:
    # A home that cannot be written costs `status` without a name, not the run.
    with contextlib.suppress(OSError):
        state_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(_registration(folder), {"folder": str(folder.resolve()), "pid": owner.pid})


def _registration(folder: Path) -> Path:
    stat = folder.stat()
    return state_folder() / f"{folder.name}-{stat.st_dev:x}-{stat.st_ino:x}.json"


def _is_running(owner: Owner) -> bool:
    try:
        is_the_same = start_of(owner.pid) == owner.started
        return is_the_same and psutil.Process(owner.pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def start_of(pid: int) -> str:
    """Which boot of the machine, and clock ticks since; where there is no /proc, a time of day.
    Raises OSError or psutil.Error if there is no such process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(psutil.Process(pid).create_time())
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return f"{boot} {int(fields[19])}"


def _status_age_s(folder: Path, now: float) -> float:
    try:
        return now - (folder / STATUS_FILE).stat().st_mtime
    except OSError:
        return float("inf")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Only one process at a time is between reading and writing owner.json."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
