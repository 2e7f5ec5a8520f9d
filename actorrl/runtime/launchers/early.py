"""An agent that is started before it is known what for: it and its forkserver import while the
driver does, which has to import the same before it can check anything. The run's directory is made
with it, for the forkserver's socket.

The command line calls `start` first of all, `discard` last; the run in between takes the run's id
from `run_id`, and the agent by `take`. Nothing here imports more than the standard library.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from actorrl.errors import RunFailed
from actorrl.runtime import run_directory, strays
from actorrl.runtime.preload import EARLY_VARIABLE

_MAIN = (
    "import sys; from actorrl.runtime.preload import warm; warm(sys.argv[1]);"
    "from actorrl.runtime.agent import main_early; main_early()"
)
# What gymnasium and CUDA set when they are imported or first used: the agent's own imports do, too.
_SET_BY_IMPORTS = ("PYGAME_HIDE_SUPPORT_PROMPT", "CUDA_MODULE_LOADING")
_END_S = 5.0
_log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    run_id: str
    environment: dict[str, str]
    directory: Path
    process: subprocess.Popen[bytes]


_waiting: _Waiting | None = None


def start(environment: dict[str, str], preload: Sequence[str]) -> None:
    """Start one whose forkserver imports `preload`; `environment` has the run's id."""
    global _waiting
    assert _waiting is None, "one at a time"
    run_id, directory = environment[strays.RUN_ID_VARIABLE], None
    try:
        directory = run_directory.make_early(run_id)
        with tempfile.TemporaryFile() as output:  # until it knows its log
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, str(directory)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**environment, EARLY_VARIABLE: " ".join(preload)},
                start_new_session=True,
            )
    except (OSError, RunFailed):  # the run that wants one says why there can be none
        if directory is not None:
            run_directory.remove(directory)
        return
    _waiting = _Waiting(run_id, environment, directory, process)


def run_id() -> str:
    """That of the one that waits, else a fresh one."""
    return _waiting.run_id if _waiting is not None else secrets.token_hex(8)


def take(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes] | None:
    """The one that waits, if it was started as this one would be: it writes to `log` from now on,
    and wants its configuration. None where there is none that fits."""
    global _waiting
    if _waiting is None:
        return None
    waiting, _waiting = _waiting, None
    process = waiting.process
    if _theirs(waiting.environment) != _theirs(environment):
        _end(process)
        return None
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already: who watches it will see
        process.stdin.write(os.fsencode(log.absolute()) + b"\n")
    return process


def _theirs(environment: dict[str, str]) -> dict[str, str]:
    """What the user, or a module of the user's, has set."""
    return {key: value for key, value in environment.items() if key not in _SET_BY_IMPORTS}


def discard() -> None:
    """End the one that waits still, if any, with its forkserver and the run's directory; nothing
    else of its run."""
    global _waiting
    if _waiting is not None:
        waiting, _waiting = _waiting, None
        _end(waiting.process)
        run_directory.remove(waiting.directory)


def _end(process: subprocess.Popen[bytes]) -> None:
    """With its forkserver. Killed before its standard input ends: it would take the directory with
    it, which may be in use by the run that has not taken it."""
    assert process.stdin is not None
    strays.kill_session(process.pid, _END_S)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    reap(process)


def reap(child: subprocess.Popen[bytes]) -> None:
    """Take the end of a child that was killed. One that the kernel holds, as a disk that does not
    answer may have it, is named and left."""
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        _log.warning("process %d was killed %g s ago and does not end", child.pid, _END_S)
