"""Which run, and which actor of it, a command is about."""

from __future__ import annotations

import re

import click

from actorrl.cli.status import find_run
from actorrl.errors import RunFolderError

_ACTOR = re.compile(r"[A-Za-z_]\w*/\d+")


def run_and_actor(words: tuple[str, ...]) -> tuple[str | None, str | None]:
    """`RUN ACTOR`, `RUN`, or `ACTOR` alone, which is known by its number: `rollout/0`."""
    if len(words) > 2:
        raise click.UsageError(f"{' '.join(words[2:])}: too many words, expected [RUN] ACTOR")
    if len(words) == 2:
        return words[0], words[1]
    return (None, words[0]) if _ACTOR.fullmatch(words[0]) else (words[0], None)


def live_run(run: str | None, results: str | None) -> str:
    """The run's id. Raises RunFolderError where it is not alive."""
    folder = find_run(run, results)
    status = folder.read_status()
    if status is None or folder.driver_pid() is None:
        raise RunFolderError(f"{folder.path}: this run is not alive")
    return status.run_id
