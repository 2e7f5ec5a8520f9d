"""From a built Algorithm to an exit code: what launch and resume have in common."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from actorrl.cli.ending import command_line, last_lines
from actorrl.cli.interrupts import Interrupted, Interrupts, read_by_somebody
from actorrl.cli.training import Goal, goal_of, train_until
from actorrl.errors import EXIT_OK, EXIT_STRAYS, ActorRLError
from actorrl.experiment.checkpoints import newest_whole
from actorrl.experiment.host_lines import not_there, were_lost
from actorrl.experiment.progress import Progress
from actorrl.experiment.run_folder import RunFolder


class _ToStderr(logging.StreamHandler[Any]):
    """As it is at the time: while there is a live table, it prints what goes there above itself."""

    stream = property(lambda self: sys.stderr, lambda self, given: None)


def set_up_logging(verbosity: int) -> None:
    """-v: what happens; -vv: everything."""
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbosity, 2)]
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level, format=form, handlers=[_ToStderr()])


class _Watched:
    """Display that keeps the newest row for the last lines."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.last_row: Mapping[str, Any] = {}

    def update(self, result: Mapping[str, Any], bottleneck: str = "") -> None:
        self.last_row = result
        self._progress.update(result, bottleneck)

    def note(self, text: str) -> None:
        self._progress.note(text)


def run_to_the_end(
    algo: Any,  # an Algorithm; not imported here, so that this file needs no torch
    stop: Mapping[str, Any],
    interrupts: Interrupts,
    quiet: bool,
    checkpoint_freq: int | None,
) -> int:
    """Train, show, end; the exit code. Errors pass through once everything is stopped."""
    folder = RunFolder(Path(algo.run_folder))
    folder.write_params({**folder.read_params(), "checkpoint_freq": checkpoint_freq})
    interrupts.run_id = algo.run_id
    goal = goal_of(stop, algo.info.reward_threshold)
    try:
        with read_by_somebody():
            _say_start(algo, goal, folder)
        progress = Progress(
            algo.name, algo.env_name, folder.name, goal.stop, quiet=quiet, hosts=algo.cluster.hosts
        )
        with progress:
            display = _Watched(progress)
            reason = train_until(algo, goal, display, interrupts, checkpoint_freq)
    except BaseException as error:
        if left := algo.stop():
            error.add_note(_could_not_end(left))
        if isinstance(error, ActorRLError) and newest_whole(folder) is not None:
            error.add_note(f"resume:     {command_line('resume', str(folder.path))}")
        raise
    hosts = algo.cluster.hosts()
    lines = [*were_lost(hosts), *not_there(hosts)]
    lines += last_lines(folder.path, reason, display.last_row, goal.stop)
    try:
        left = algo.stop()
    finally:  # also where an actor could not write its last rows
        with contextlib.suppress(Interrupted), read_by_somebody():
            click.echo("\n".join(lines))
    if left:
        click.echo(f"error: {_could_not_end(left)}", err=True)
        return EXIT_STRAYS
    return EXIT_OK if reason is not None else interrupts.exit_code


def _could_not_end(pids: list[int]) -> str:
    return f"these processes could not be ended: {pids}"


def _say_start(algo: Any, goal: Goal, folder: RunFolder) -> None:
    for notice in algo.notices:
        click.echo(f"notice: {notice}")
    click.echo(f"{algo.name} on {algo.env_name} {goal}")
    click.echo(algo.config.arithmetic())
    click.echo(f"run folder: {folder.path}")
    for line in (*algo.cluster.notices, *not_there(algo.cluster.hosts())):
        click.echo(f"notice: {line}")
