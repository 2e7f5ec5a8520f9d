"""`actorrl logs [RUN] ACTOR [-f]`: an actor's log, out of the run folder. What actors of other
hosts write is forwarded there; each line says whose it is."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from actorrl.cli.live_run import run_and_actor
from actorrl.cli.options import where_results_are
from actorrl.cli.status import find_run
from actorrl.config import did_you_mean
from actorrl.errors import RunFolderError

if TYPE_CHECKING:
    from actorrl.experiment.run_folder import RunFolder

POLL_S = 0.2
CHUNK_BYTES = 1 << 16


@click.command("logs")
@click.argument("words", nargs=-1, required=True, metavar="[RUN] [ACTOR]")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends, or Ctrl-C.")
@click.option("-n", "--lines", type=click.IntRange(min=0), help="Only the last N lines.")
@where_results_are
def command(words: tuple[str, ...], follow: bool, lines: int | None, results: str | None) -> None:
    """Print the log of ACTOR (as `status` names it: rollout/0); without ACTOR list the logs.

    RUN is a name or a run folder; it may be left out when one run is alive.
    """
    run, actor = run_and_actor(words)
    folder = find_run(run, results)
    if actor is None:
        click.echo("\n".join(_actors(folder)) or "no logs yet")
        return
    with open(_log_file(folder, actor), "rb") as log:
        _print_end(log, lines)
        while follow:
            # Asked before the last read: what an ending run writes is still printed.
            alive = folder.driver_pid() is not None
            _print_rest(log)
            if not alive:
                break
            time.sleep(POLL_S)


def _actors(folder: RunFolder) -> list[str]:
    stems = (path.stem for path in sorted(folder.logs.glob("*.log")))
    return ["/".join(stem.rsplit("-", 1)) for stem in stems]


def _log_file(folder: RunFolder, actor: str) -> Path:
    actors = _actors(folder)
    if actor not in actors:
        hint = did_you_mean(actor, actors) or f", there are: {', '.join(actors) or 'none yet'}"
        raise RunFolderError(f"{actor}: {folder.name} has no log of this actor{hint}")
    return folder.logs / f"{actor.replace('/', '-')}.log"


def _print_end(log: BinaryIO, lines: int | None) -> None:
    if lines is not None:
        kept = log.read().splitlines(keepends=True)
        click.echo(b"".join(kept[len(kept) - min(lines, len(kept)) :]), nl=False)
    _print_rest(log)


def _print_rest(log: BinaryIO) -> None:
    while chunk := log.read(CHUNK_BYTES):
        click.echo(chunk, nl=False)
