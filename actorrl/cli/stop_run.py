"""`actorrl stop RUN`: end a run from another terminal, as Ctrl-C in its own would."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

import click

from actorrl.cli.ending import command_line
from actorrl.cli.options import where_results_are
from actorrl.cli.status import find_run
from actorrl.errors import EXIT_OK, EXIT_STRAYS, RunFolderError
from actorrl.runtime.host_specs import FailureSpec

if TYPE_CHECKING:
    from actorrl.experiment.run_folder import RunFolder

BESIDE_GRACE_S = 20.0  # the iteration in progress, the checkpoint, and what the agents need


@click.command("stop")
@click.argument("run", required=False)
@where_results_are
def command(run: str | None, results: str | None) -> int:
    """End RUN: its driver writes a checkpoint and ends its processes.

    RUN is a name or a run folder; it may be left out when one run is alive.
    """
    folder = find_run(run, results)
    # Checks the start time as well: the pid may have become another process's since.
    pid = folder.driver_pid()
    if pid is None:
        raise RunFolderError(f"{folder.path}: this run is not alive, there is nothing to stop")
    _terminate(pid)
    click.echo(f"stopping {folder.name} (driver pid {pid})")
    wait_s = patience_s(folder)
    deadline = time.monotonic() + wait_s
    while folder.driver_pid() == pid:
        if time.monotonic() > deadline:
            click.echo(
                f"error: the driver, pid {pid}, still runs after {wait_s:g} s. Run the command "
                "again to let it kill the run's processes.",
                err=True,
            )
            return EXIT_STRAYS
        time.sleep(0.1)
    click.echo(f"stopped; to go on: {command_line('resume', str(folder.path))}")
    return EXIT_OK


def patience_s(folder: RunFolder) -> float:
    """How long the driver may take: its actors have the run's own grace_s."""
    try:
        grace_s = folder.read_params().get("grace_s")
    except RunFolderError:  # it has not come so far
        grace_s = None
    return BESIDE_GRACE_S + (FailureSpec().grace_s if grace_s is None else float(grace_s))


def _terminate(pid: int) -> None:
    try:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself meanwhile
            os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise RunFolderError(f"pid {pid}: this run's driver belongs to another user") from None
