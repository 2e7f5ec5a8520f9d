"""`actorrl launch` (RLlib's name: `train`): start a run and show how it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from actorrl.cli.early_agent import early_agent
from actorrl.cli.interrupts import Interrupted, Interrupts
from actorrl.cli.options import how_to_end, how_to_show, what_to_train, where_results_are


@click.command("launch")
@click.argument("words", nargs=-1, metavar="")
@what_to_train
@how_to_end
@click.option("--name", "--experiment-name", metavar="NAME", help="Name of the run folder.")
@where_results_are
@click.option(
    "--checkpoint-freq", type=click.IntRange(min=0), metavar="N",
    help="Write a checkpoint every N training iterations.",
)  # fmt: skip
@click.option("--redis-address", "--ray-address", "redis_address", hidden=True)
@click.option("--checkpoint-at-end", is_flag=True, help="For RLlib's sake: every end writes one.")
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Keep N checkpoints.")
@how_to_show
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], **flags: Any) -> int:
    """Train until the goal is reached, or Ctrl-C: on this machine, or on the hosts of --hosts.

    \b
    actorrl launch --algo APEX --env CartPole-v1
    actorrl launch --algo IMPALA --env ALE/Pong-v5 --workers 2 --stop timesteps_total=2.5e6
    actorrl launch --hosts cluster.yml --algo IMPALA --env ALE/Pong-v5
    actorrl launch -f cartpole-apex

    Ctrl-C once writes a checkpoint and ends, twice kills, three times leaves at once.
    """
    if words[:1] == ("file",) and len(words) == 2 and flags["file"] is None:
        flags["file"] = words[1]  # RLlib's `train file FILE`
    elif words:
        raise click.UsageError(f"{words[0]}: unknown word, expected options; `-f FILE` for a file")
    with Interrupts() as interrupts, early_agent():
        try:
            return _launch(ctx.obj or [], flags, interrupts)
        except Interrupted:  # before the first iteration: there is nothing to save
            return interrupts.exit_code


def _launch(arguments: list[str], flags: Mapping[str, Any], interrupts: Interrupts) -> int:
    from actorrl.cli.request import read_request
    from actorrl.cli.run import run_to_the_end, set_up_logging

    set_up_logging(flags["verbosity"])
    request = read_request(arguments, flags)
    algo = request.config.build(
        name=flags["name"],
        results=request.results,
        stop=request.stop,
        keep=flags["keep"],
        announce=False,
    )
    return run_to_the_end(algo, request.stop, interrupts, flags["quiet"], request.checkpoint_freq)
