"""The command `actorrl`: finds the sub-command, and turns errors into text and exit codes.

Sub-commands are imported when they are called, so that `actorrl --help` answers at once and
imports none of torch, gymnasium and zmq.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from actorrl.cli import failures
from actorrl.config import did_you_mean
from actorrl.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, ActorRLError


class Entry(NamedTuple):
    module: str
    help: str


# In the order of --help: before, during and after a run.
COMMANDS: dict[str, Entry] = {
    "launch": Entry("launch", "Train: start a run and show how it goes."),
    "train": Entry("launch", "The same as launch, under RLlib's name."),
    "plan": Entry("plan", "Print the actors and links of a run; starts no process."),
    "check": Entry("check", "Look whether the hosts of a list can be used; starts nothing."),
    "hosts": Entry("hosts", "List hosts, and trust their host keys."),
    "status": Entry("status", "What a run is doing, and its actors."),
    "top": Entry("top", "What the hosts and actors of a run use."),
    "stack": Entry("stack", "Where the threads of an actor are now."),
    "logs": Entry("logs", "Print the log of an actor of a run."),
    "stop": Entry("stop_run", "End a run, with a checkpoint."),
    "resume": Entry("resume", "Continue a run from its newest checkpoint."),
    "evaluate": Entry("evaluate", "Play episodes with a trained policy."),
    "rollout": Entry("evaluate", "The same as evaluate, under RLlib's name."),
    "list": Entry("listing", "List algorithms, environments, runs or examples."),
    "config": Entry("config_table", "Every setting of an algorithm, with default and unit."),
    "doctor": Entry("doctor", "Which extras are installed: Atari, MuJoCo, films ..."),
}
EXIT_S = 5.0  # for what the user's code does at the end of this process
# Named in the contract, not built yet: they say so and exit 2.
LATER = ("tune", "plot", "export", "serve")
OTHERWISE = ", `actorrl --help` lists the commands"
RLLIBS = {
    "example": ", `actorrl list examples` shows the examples, `actorrl train -f NAME` runs one"
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in LATER:
            return _not_built_yet(cmd_name)
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"actorrl.cli.{COMMANDS[cmd_name].module}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS and name not in LATER:
            hint = RLLIBS.get(name) or did_you_mean(name, COMMANDS) or OTHERWISE
            raise click.UsageError(f"{name}: unknown command{hint}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Nobody may read what is printed, `actorrl list envs | head`; click would exit with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            failures.print_to_nobody()
            return EXIT_OK

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands out of the table above, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])
        with formatter.section("Not built yet"):
            formatter.write_text(", ".join(LATER))


def _not_built_yet(name: str) -> click.Command:
    def refuse() -> None:
        raise click.ClickException(f"{name}: not built yet, `actorrl --help` lists what is")

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=refuse, context_settings=settings, add_help_option=False)


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"actorrl {version('actorrl')}")
    except PackageNotFoundError:  # run from a source tree that is not installed
        click.echo("actorrl (not installed)")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Print the version and exit.",
)  # fmt: skip
def cli() -> None:
    """Reinforcement learning from actors: A3C, IMPALA, Ape-X, on one machine or many.

    \b
    actorrl launch --algo APEX --env CartPole-v1
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. All errors meant for users end here."""
    try:
        result = cli.main(
            args=list(arguments), prog_name="actorrl", standalone_mode=False, obj=list(arguments)
        )
    except click.ClickException as error:
        failures.show_usage(error)
        return EXIT_USAGE
    except ActorRLError as error:
        failures.show(error)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    return result if isinstance(result, int) else EXIT_OK


def main() -> None:
    """The console script, and `python -m actorrl`."""
    # --env pkg.module:Class is found where the user stands; last, so that nothing is shadowed.
    sys.path.append(os.getcwd())
    code = run(sys.argv[1:])
    # All is stopped and written. Searching torch for cycles first would take most of a second.
    gc.freeze()
    gc.disable()
    watch = threading.Timer(EXIT_S, _leave, [code])
    watch.daemon = True
    watch.start()
    sys.exit(code)


def _leave(code: int) -> None:
    """The interpreter waits for threads and exit hooks, and a user's environment that was made in
    this process may have some that never end."""
    main = threading.main_thread()
    if main.is_alive():  # who has called us goes on
        return
    names = [each.name for each in threading.enumerate() if not each.daemon and each != main]
    what = f"threads that have not ended: {', '.join(names)}" if names else "an exit hook"
    os.write(2, f"actorrl: not waiting any longer for {what}\n".encode())
    os._exit(code)
