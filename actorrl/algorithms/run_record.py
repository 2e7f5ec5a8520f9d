"""What a run leaves behind in its folder: rows, checkpoints, status and events.

Belongs to the driver's thread; `on_event` is called by the cluster's thread as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from actorrl.errors import CheckpointError, ConfigError, RunFolderError
from actorrl.experiment.checkpoints import CheckpointKeeper, write_checkpoint
from actorrl.experiment.results import ResultWriter
from actorrl.experiment.run_folder import RunFolder, default_name, default_results_dir
from actorrl.experiment.upload import Target, Uploader
from actorrl.paths import expanded
from actorrl.roles.settings import State
from actorrl.roles.torch_setup import give_back_freed_memory

_log = logging.getLogger(__name__)


class RunName(NamedTuple):
    """Who a run is, as its status says it."""

    run_id: str
    algo: str
    env: str


def make_folder(who: RunName, name: str | None, results: str | Path | None) -> RunFolder:
    """A new folder RESULTS/NAME, named by algorithm, environment and time unless told."""
    results = results if results is not None else default_results_dir()
    if name is not None:
        return RunFolder.create(results, name)
    base = own = default_name(who.algo, who.env)
    number = 1
    while True:
        try:
            return RunFolder.create(results, own)
        except RunFolderError:  # another run may have begun in this second, even at this moment
            if not os.path.lexists(expanded(results) / own):
                raise
        number += 1
        own = f"{base}_{number}"


@contextlib.contextmanager
def owned(folder: RunFolder, run_id: str) -> Iterator[None]:
    """The folder is this process's, and stays so unless what is done first with it fails."""
    folder.acquire(run_id)
    try:
        yield
    except BaseException:
        folder.release()
        raise


def user_loggers(
    loggers: Sequence[Any],
    logger_creator: Callable[[dict[str, Any]], Any] | None,
    settings: dict[str, Any],
) -> list[Any]:
    """`loggers`, and what RLlib's `logger_creator(settings)` makes: functions of a row of results,
    or objects with `on_result(row)` and perhaps `close()`. Raises ConfigError for anything else."""
    found = list(loggers)
    if logger_creator is not None:
        if not callable(logger_creator):
            raise ConfigError(f"logger_creator: {logger_creator!r} is no function of the settings")
        found.append(logger_creator(settings))
    for logger in found:
        if not callable(getattr(logger, "on_result", logger)):
            raise ConfigError(
                f"loggers: {logger!r} takes no results, accepted are functions of a row and objects"
                " with on_result(row)"
            )
    return found


class RunRecord:
    """The pen of the driver. A disk that refuses a status or an event does not end the run.
    `loggers` are what `user_loggers` returned; copies of the folder go to `upload_dir`."""

    def __init__(
        self,
        folder: RunFolder,
        who: RunName,
        keep: int | None,
        loggers: Sequence[Any] = (),
        upload_dir: Target | None = None,
    ) -> None:
        self.folder = folder
        self.writer = ResultWriter(folder)
        self.actors_changed = threading.Event()
        self.num_envs_recreated = 0
        self._loggers = loggers
        self._uploader = Uploader(folder.path, upload_dir) if upload_dir is not None else None
        self.who = who
        self.keep = keep
        self._keeper = CheckpointKeeper(folder, keep)

    def write(self, row: Mapping[str, Any]) -> None:
        """A row of results, also to the user's own loggers."""
        self.writer.write(row)
        for logger in self._loggers:
            getattr(logger, "on_result", logger)(dict(row))

    def close(self) -> None:
        """The run has ended."""
        for logger in self._loggers:
            close = getattr(logger, "close", None)
            if close is not None:
                close()
        if self._uploader is not None and not self._uploader.finish():
            _log.warning("upload_dir: the last copy takes long and is left")
        self.folder.release()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """A line of events.jsonl; what happened to actors shows in the next status."""
        details = {key: value for key, value in event.items() if key not in ("time", "event")}
        try:
            self.folder.append_event(event["event"], **details)
        except OSError as error:  # the run is worth more than its diary
            _log.warning("events.jsonl cannot be written (%s): %s", error.strerror, event)
        if event["event"] == "environments_recreated":
            self.num_envs_recreated += event["environments"]
        self.actors_changed.set()

    def write_status(
        self, state: str, iteration: int, timesteps: int, actors: list[dict[str, Any]]
    ) -> None:
        """Replace status.json."""
        status = {
            "run": self.folder.name,
            "run_id": self.who.run_id,
            "state": state,
            "driver_pid": os.getpid(),
            "algo": self.who.algo,
            "env": self.who.env,
            "training_iteration": iteration,
            "timesteps_total": timesteps,
            "actors": actors,
        }
        try:
            self.folder.write_status(status)
        except OSError as error:
            _log.warning("status.json cannot be written (%s)", error.strerror)

    def save(
        self, folder: str | Path | None, iteration: int, state: State, about: Mapping[str, Any]
    ) -> str:
        """A checkpoint in `folder`, or among the run's own; its path. Raises CheckpointError."""
        if folder is None:
            path = self._keeper.save(iteration, state, about)
            self._upload_soon()
            return str(path)
        path = expanded(folder) / f"checkpoint_{iteration:06d}"
        return str(write_checkpoint(path, state, about))

    def save_recovery_if_due(
        self, state: Callable[[], State], about: Callable[[], Mapping[str, Any]]
    ) -> None:
        if self._keeper.recovery_due(time.monotonic()):
            self.save_recovery(state(), about())
            give_back_freed_memory()  # several times the weights, until the next one

    def save_recovery(self, state: State, about: Mapping[str, Any]) -> None:
        """A disk that refuses costs this checkpoint, not the run: the ones before it are whole."""
        try:
            self._keeper.save_recovery(state, about)
            self._upload_soon()
        except CheckpointError as error:
            _log.warning("%s", error)
            self.on_event({"event": "checkpoint_failed", "reason": str(error)})

    def _upload_soon(self) -> None:
        if self._uploader is not None:
            self._uploader.upload_soon()
