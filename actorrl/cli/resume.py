"""`actorrl resume RUN`: continue in the same folder from the newest whole checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from actorrl.cli.early_agent import early_agent
from actorrl.cli.interrupts import Interrupted, Interrupts
from actorrl.cli.options import how_to_end, how_to_show, where_results_are, which_hosts


@click.command("resume")
@click.argument("run")
@how_to_end
@click.option("--workers", type=int, metavar="N", help="Rollout workers (num_workers).")
@click.option("--env", metavar="ENV", help="Where the environment is now, if it was moved.")
@which_hosts
@where_results_are
@how_to_show
def command(**flags: Any) -> int:
    """Continue RUN, a name or a run folder, from its newest whole checkpoint.

    --stop and --hosts replace those that the run was started with.
    """
    with Interrupts() as interrupts, early_agent():
        try:
            return _resume(flags, interrupts)
        except Interrupted:
            return interrupts.exit_code


def _resume(flags: Mapping[str, Any], interrupts: Interrupts) -> int:
    from actorrl.cli.request import read_resume
    from actorrl.cli.run import run_to_the_end, set_up_logging
    from actorrl.experiment.run_folder import RunFolder

    set_up_logging(flags["verbosity"])
    folder = RunFolder.open(flags["run"], flags["results"])
    asked = read_resume(flags)
    checkpoint_freq = folder.read_params().get("checkpoint_freq")

    from actorrl.algorithms.resuming import resume

    algo = resume(
        folder,
        num_workers=flags["workers"],
        hosts=asked.hosts,
        stop=asked.stop,
        env=flags["env"],
    )
    return run_to_the_end(algo, algo.stop_criteria, interrupts, flags["quiet"], checkpoint_freq)
