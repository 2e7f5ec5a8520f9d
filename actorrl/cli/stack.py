"""`actorrl stack [RUN] ACTOR`: where every thread of an actor is now, on whichever host it runs."""

from __future__ import annotations

import click

from actorrl.cli.live_run import live_run, run_and_actor
from actorrl.cli.options import where_results_are


@click.command("stack")
@click.argument("words", nargs=-1, required=True, metavar="[RUN] ACTOR")
@where_results_are
def command(words: tuple[str, ...], results: str | None) -> None:
    """Print the stacks of ACTOR's threads (as `status` names it: rollout/0).

    It is not stopped for it, and answers even while it hangs. RUN may be left out when one run is
    alive.
    """
    from actorrl.runtime.desk import ask

    run, actor = run_and_actor(words)
    if actor is None:
        raise click.UsageError("ACTOR is missing, such as rollout/0; `actorrl status` names them")
    reply = ask(live_run(run, results), {"ask": "stack", "actor": actor})
    click.echo(reply["text"].rstrip())
