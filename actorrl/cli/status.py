"""`actorrl status [RUN] [--json]`: what a run is doing, and its actors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from actorrl.cli.options import where_results_are
from actorrl.errors import RunFolderError

if TYPE_CHECKING:
    from actorrl.experiment.run_folder import RunFolder
    from actorrl.experiment.status import RunStatus


@click.command("status")
@click.argument("run", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@where_results_are
def command(run: str | None, as_json: bool, results: str | None) -> None:
    """What RUN is doing, and its actors.

    RUN is a name or a run folder; it may be left out when one run is alive.
    """
    import msgspec

    folder = find_run(run, results)
    status = folder.read_status()
    if status is None:
        raise RunFolderError(f"{folder.path}: status.json is missing or damaged, nothing is known")
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(status)))
    else:
        click.echo(as_text(status))


def find_run(run: str | None, results: str | None) -> RunFolder:
    """The run that is meant; RunFolderError says what else could be."""
    from actorrl.experiment.run_folder import RunFolder

    return RunFolder.open(run, results) if run is not None else RunFolder.find_live(results)


def as_text(status: RunStatus) -> str:
    """A head line and one line per actor, in 80 columns unless an error is longer."""
    driver = f", driver pid {status.driver_pid}" if status.driver_pid else ""
    lines = [
        f"{status.run}: {status.state}{driver}",
        f"{status.algo} on {status.env}, iteration {status.training_iteration}, "
        f"{status.timesteps_total} env steps",
        f"{'actor':<16} {'host':<16} {'pid':>8} {'state':<12} {'restarts':>8}  last error",
    ]
    for actor in status.actors:
        pid = "-" if actor.pid is None else str(actor.pid)
        error = (actor.last_error or "").strip().splitlines()
        lines.append(
            f"{actor.name:<16} {actor.host:<16} {pid:>8} {actor.state:<12} {actor.restarts:>8}  "
            f"{error[-1] if error else ''}".rstrip()
        )
    return "\n".join(lines)
