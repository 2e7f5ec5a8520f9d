"""A copy of the run folder elsewhere, made beside training after every checkpoint.

It keeps what it once had, but for recovery checkpoints: a run makes one a minute and keeps two.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actorrl.errors import ConfigError
from actorrl.paths import expanded

_log = logging.getLogger(__name__)
_REMOTE = re.compile(r"rsync://.+|[^/:]+:.*")
_LAST_COPY_S = 60.0
_MIRRORED = "recovery"  # the subfolder of which the copy has no more than the run

Target = str | os.PathLike[str] | Callable[[str], Any]


class Uploader:
    """Copies in a thread of its own, one copy at a time; training never waits for it. A copy that
    fails is logged, the next one makes up for it.

    `target`: a folder; `host:path` or `rsync://...`, by the program rsync; or a function that is
    called with the run folder's path. Raises ConfigError where rsync is needed and missing.
    """

    def __init__(self, folder: str | os.PathLike[str], target: Target) -> None:
        self._folder = Path(folder)
        self._copy = _copier(target)
        self._wanted = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()

    def upload_soon(self) -> None:
        """There is something new; what comes while a copy is made goes with the next one."""
        self._wanted.set()

    def finish(self) -> bool:
        """A last copy; False if it has not ended within a minute."""
        self._ending.set()
        self._wanted.set()
        self._thread.join(_LAST_COPY_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        last = False
        while not last:
            self._wanted.wait()
            last = self._ending.is_set()
            self._wanted.clear()
            try:
                self._copy(self._folder)
            except Exception as error:  # whatever a user's function raises
                _log.warning("upload_dir: the run folder was not copied: %s", error)


def check_target(target: Target | None) -> None:
    """Raises ConfigError for one that an Uploader would not take."""
    if target is not None:
        _copier(target)


def _copier(target: Target) -> Callable[[Path], None]:
    if callable(target):
        function = target
        return lambda folder: function(str(folder))
    if not isinstance(target, str | os.PathLike):
        raise ConfigError(
            f"upload_dir: {target!r}, accepted are a folder, host:path, rsync://..., or a function"
            " of the run folder's path"
        )
    text = os.fspath(target)
    if not _REMOTE.fullmatch(text):
        return lambda folder: _copy_new(folder, expanded(text) / folder.name)
    rsync = shutil.which("rsync")
    if rsync is None:
        raise ConfigError(f"upload_dir: {text!r} needs rsync, which is not installed")
    return lambda folder: _rsync(rsync, folder, text)


def _copy_new(source: Path, target: Path) -> None:
    """Files that are not there yet, or of another size or time; half-written ones stay out."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.mkdir(mode=0o700, exist_ok=True)  # as the run's: what is in it is nobody else's
    for path in sorted(source.rglob("*")):
        there = target / path.relative_to(source)
        if _is_hidden(path, source):
            continue
        if path.is_dir():
            there.mkdir(parents=True, exist_ok=True)
        elif _differs(path, there):
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, there)
    kept = _visible(source / _MIRRORED)
    for name in _visible(target / _MIRRORED) - kept if kept else ():
        shutil.rmtree(target / _MIRRORED / name)


def _visible(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("[!.]*")}


def _is_hidden(path: Path, base: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(base).parts)


def _differs(path: Path, there: Path) -> bool:
    if not there.exists():
        return True
    ours, theirs = path.stat(), there.stat()
    return ours.st_size != theirs.st_size or ours.st_mtime > theirs.st_mtime


def _rsync(rsync: str, folder: Path, target: str) -> None:
    copy = [rsync, "--archive", "--exclude=.*"]
    _run_rsync([*copy, str(folder), target], folder)
    if _visible(folder / _MIRRORED):  # else nothing newer is there than what would go
        _run_rsync(
            [*copy, "--relative", "--delete", f"./{folder.name}/{_MIRRORED}", target], folder
        )


def _run_rsync(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder.parent, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise OSError(done.stderr.strip() or f"rsync ended with {done.returncode}")
