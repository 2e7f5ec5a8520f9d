"""The folder of one run: RESULTS/NAME, mode 0700, and the files in it.

params.json     resolved config, versions, git revision, hosts, seeds
result.json     strict JSON lines, one per training iteration (results.py)
progress.csv    the same, flat (results.py)
events.out.*    the same, for TensorBoard (tensorboard.py)
status.json     what `actorrl status` prints, replaced atomically
events.jsonl    what happened to actors and hosts
owner.json      the live driver (ownership.py)
checkpoints/    checkpoint_000010/ ...
recovery/       the newest two recovery checkpoints
videos/  logs/  logs/<role>-<index>.log
"""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from actorrl.config import did_you_mean
from actorrl.errors import RunFolderError
from actorrl.experiment.ownership import (
    STATUS_FILE,
    give_up_ownership,
    live_owner,
    live_runs,
    take_ownership,
)
from actorrl.experiment.sign_of_life import SignOfLife
from actorrl.experiment.state_files import (
    append_line,
    json_line,
    read_json,
    read_json_lines,
    write_json,
)
from actorrl.experiment.status import LIVE_STATES, RunStatus, to_status
from actorrl.paths import expanded

SUBFOLDERS = ("checkpoints", "recovery", "videos", "logs")


def default_results_dir() -> Path:
    """~/actorrl_results."""
    return Path.home() / "actorrl_results"


def default_name(algo: str, env: str, now: float | None = None) -> str:
    """`<ALGO>_<env, / as _>_<time>`, with the local time to the second."""
    moment = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now))
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in env)
    return f"{algo}_{safe}_{moment}"


class RunFolder:
    """Paths and small files of one run. Made with `create` or `open`, never directly."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sign_of_life: SignOfLife | None = None

    # ---- making and finding -----------------------------------------------------------------

    @classmethod
    def check_available(cls, results_dir: str | os.PathLike[str], name: str) -> Path:
        """Path that `create` would make; RunFolderError if it could not. Makes nothing."""
        path = _checked_name(expanded(results_dir), name)
        if os.path.lexists(path):
            raise _exists(path)
        parent = path.parent
        while not parent.exists():
            parent = parent.parent
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise _not_writable(path, f"{parent} is not a folder that you may write to")
        return path

    @classmethod
    def create(cls, results_dir: str | os.PathLike[str], name: str) -> RunFolder:
        """A new folder RESULTS/NAME; RunFolderError if it exists or cannot be made."""
        path = cls.check_available(results_dir, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700)
            for subfolder in SUBFOLDERS:
                (path / subfolder).mkdir(mode=0o700)
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            raise _not_writable(path, error.strerror or str(error)) from None
        return cls(path.resolve())

    @classmethod
    def open(
        cls, path_or_name: str | os.PathLike[str], results_dir: str | os.PathLike[str] | None = None
    ) -> RunFolder:
        """An existing run, given by its folder or by its name in `results_dir`."""
        base = expanded(results_dir) if results_dir else default_results_dir()
        text = os.fspath(path_or_name)
        for candidate in (expanded(text), base / text):
            try:
                is_run = _is_run(candidate)
            except PermissionError as error:
                raise RunFolderError(
                    f"{candidate}: you may not look into it ({error.strerror}); whose run it is may"
                ) from None
            if is_run:
                return cls(candidate.resolve())
        meant = did_you_mean(text, list_runs(base))
        raise RunFolderError(
            f"{text}: no run folder of that path, and no run of that name in {base}{meant} "
            "(actorrl list runs shows them)"
        )

    @classmethod
    def find_live(cls, results_dir: str | os.PathLike[str] | None = None) -> RunFolder:
        """The one run that is alive; RunFolderError if there is none, or more than one."""
        base = expanded(results_dir) if results_dir else default_results_dir()
        alive = live_runs(base)
        if not alive:
            raise RunFolderError("no run is alive; name one: a run's name or its folder")
        if len(alive) > 1:
            names = ", ".join(str(path) for path in alive)
            raise RunFolderError(f"{len(alive)} runs are alive, name one of them: {names}")
        return cls(alive[0])

    # ---- paths ------------------------------------------------------------------------------

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints that are kept."""
        return self.path / "checkpoints"

    @property
    def recovery(self) -> Path:
        """Folder of the newest two recovery checkpoints."""
        return self.path / "recovery"

    @property
    def logs(self) -> Path:
        """Folder of the actors' logs."""
        return self.path / "logs"

    @property
    def videos(self) -> Path:
        """Folder of recorded episodes."""
        return self.path / "videos"

    @property
    def result_file(self) -> Path:
        """result.json."""
        return self.path / "result.json"

    # ---- small files ------------------------------------------------------------------------

    def write_params(self, params: Mapping[str, Any]) -> None:
        """Replace params.json."""
        write_json(self.path / "params.json", params)

    def read_params(self) -> dict[str, Any]:
        """params.json; RunFolderError if it is missing or damaged."""
        params = read_json(self.path / "params.json")
        if not isinstance(params, dict):
            raise RunFolderError(f"{self.path}: params.json is missing or damaged, no run to go on")
        return params

    def write_status(self, status: RunStatus | dict[str, Any]) -> None:
        """Replace status.json; a dict is checked against the contract's keys (ValueError)."""
        checked = status if isinstance(status, RunStatus) else to_status(status)
        write_json(self.path / STATUS_FILE, msgspec.to_builtins(checked))

    def read_status(self) -> RunStatus | None:
        """The status now, None before the first: of a driver that is gone, its actors are, too."""
        try:
            status = to_status(read_json(self.path / STATUS_FILE) or {})
        except ValueError:
            return None
        if status.state in LIVE_STATES and live_owner(self.path) is None:
            status.state = "dead"
        if status.state not in LIVE_STATES:
            status.driver_pid = None
            for actor in status.actors:
                actor.pid = None
                actor.state = "stopped" if status.state != "dead" else "dead"
        return status

    def append_event(self, kind: str, /, **fields: Any) -> None:
        """Add a line to events.jsonl: time (seconds since the epoch), kind and `fields`."""
        event = {"time": round(time.time(), 3), "kind": kind}
        event |= {key: value for key, value in fields.items() if key not in event}
        append_line(self.path / "events.jsonl", json_line(event))

    def read_events(self) -> list[dict[str, Any]]:
        """All events, oldest first."""
        return read_json_lines(self.path / "events.jsonl")

    # ---- ownership --------------------------------------------------------------------------

    def acquire(self, run_id: str) -> None:
        """Make this process the driver; RunFolderError naming the pid of another live one."""
        take_ownership(self.path, run_id)
        if self._sign_of_life is None:
            self._sign_of_life = SignOfLife(self.path / STATUS_FILE)

    def release(self) -> None:
        """The run has ended: this process is its driver no longer."""
        if self._sign_of_life is not None:
            self._sign_of_life.end()
            self._sign_of_life = None
        give_up_ownership(self.path)

    def driver_pid(self) -> int | None:
        """Pid of the live driver."""
        owner = live_owner(self.path)
        return owner.pid if owner else None


def list_runs(results_dir: str | os.PathLike[str] | None = None) -> list[str]:
    """Names of the runs in `results_dir`, oldest first."""
    base = expanded(results_dir) if results_dir else default_results_dir()
    runs = []
    with contextlib.suppress(OSError):
        for path in base.iterdir():
            with contextlib.suppress(PermissionError):  # another user's
                if _is_run(path):
                    runs.append(path)
    return [path.name for path in sorted(runs, key=lambda path: path.stat().st_mtime)]


def _is_run(path: Path) -> bool:
    """Raises PermissionError where nobody but its owner may look into it."""
    return (path / "checkpoints").is_dir() and (path / "logs").is_dir()


def _checked_name(results_dir: Path, name: str) -> Path:
    if not name or name.startswith(".") or "/" in name or not name.isprintable():
        raise RunFolderError(
            f"{name!r} cannot be a run's name, a folder name without '/' and leading '.' is"
        )
    return results_dir / name


def _exists(path: Path) -> RunFolderError:
    return RunFolderError(
        f"{path}: this run folder exists already and is not overwritten. "
        f"Choose another --name, or go on with it: actorrl resume {shlex.quote(str(path))}"
    )


def _not_writable(path: Path, reason: str) -> RunFolderError:
    return RunFolderError(
        f"{path}: the run folder cannot be made ({reason}). Choose another folder with --results."
    )
