"""`actorrl plan`: the Program of a run and where its actors would be placed. Starts no process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from actorrl.cli.options import how_to_end, what_to_train

if TYPE_CHECKING:
    from actorrl.runtime.program import Program


@click.command("plan")
@what_to_train
@how_to_end
@click.pass_context
def command(ctx: click.Context, **flags: Any) -> None:
    """Print actors, links and placement of a run; takes the options of launch.

    The environment is made once, for its spaces; no process is started and no folder made.
    """
    from actorrl.cli.request import read_request

    request = read_request(ctx.obj or [], flags)
    program = request.config.program()
    click.echo(str(program))
    click.echo("\n".join(placement_lines(program)))


def placement_lines(program: Program) -> Sequence[str]:
    """One line per host with the actors that it gets, and the notices."""
    from actorrl.runtime.inventory import this_host
    from actorrl.runtime.placement import place

    host = this_host()
    places, notices = place(program, [host])
    gpus = sorted({gpu for at in places.values() for gpu in at.gpus})
    lines = [
        f"on {host.name}: {len(places)} actors, {host.num_cpus} cores"
        + (f", GPUs {', '.join(gpus)}" if gpus else "")
    ]
    return lines + [f"notice: {notice}" for notice in notices]
