"""Options that several commands share, and how one is named in an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

SPELLINGS = {
    "algo": ("--algo", "--run", "--alg"),
    "env": ("--env",),
    "workers": ("--workers",),
    "config": ("--config",),
    "seed": ("--seed",),
    "hosts": ("--hosts",),
    "framework": ("--framework", "--torch"),
    "redis_address": ("--redis-address", "--ray-address"),
}


def written(option: str, arguments: Sequence[str]) -> str:
    """The spelling of `option` that the user typed; its own name when it was left out."""
    spellings = SPELLINGS[option]
    for spelling in spellings:
        if any(word == spelling or word.startswith(f"{spelling}=") for word in arguments):
            return spelling
    return spellings[0]


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator out of several click options, listed in --help in this order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


which_hosts = click.option(
    "--hosts", metavar="FILE", help="Hosts to run on: a cluster.yml, a hostfile, or a:4,b:4."
)
what_to_train = together(
    click.option(
        "--algo", "--run", "--alg", "algo", metavar="NAME", help="Algorithm; see `list algos`."
    ),
    click.option("--env", metavar="ENV", help="Gymnasium id, registered name, or pkg.mod:Class."),
    click.option(
        "-f", "--file", "file", metavar="FILE_OR_EXAMPLE",
        help="A tuned example: run, env, stop and config in YAML; see `list examples`.",
    ),
    click.option("--config", metavar="JSON_OR_FILE", help="Settings, in braces or in a file."),
    click.option(
        "--set", "assignments", multiple=True, metavar="KEY=VALUE",
        help="One setting, dotted for nested ones; repeatable.",
    ),
    click.option("--workers", type=int, metavar="N", help="Rollout workers (num_workers)."),
    which_hosts,
    click.option("--seed", type=int, metavar="N", help="Seed of all random numbers."),
    click.option("--framework", metavar="torch", help="Accepted for RLlib's sake; torch only."),
    click.option("--torch", is_flag=True, help="The same as --framework torch."),
)  # fmt: skip

how_to_end = click.option(
    "--stop", "stop", multiple=True, metavar="KEY=VALUE",
    help="End when a result key is >= a value, e.g. timesteps_total=1e6; repeatable, the first "
    "one reached ends the run. Also as JSON. Default: the environment's reward threshold.",
)  # fmt: skip

how_to_show = together(
    click.option("--quiet", is_flag=True, help="Print only notices, errors and the end."),
    click.option("-v", "verbosity", count=True, help="Log more; -vv logs everything."),
)

where_results_are = click.option(
    "--results", "--local-dir", "results", metavar="DIR",
    help="Where run folders are. Default: ~/actorrl_results.",
)  # fmt: skip
