"""How errors look: `error: ...` lines on stderr, one screen at most, without a stack of ours."""

from __future__ import annotations

import os
import sys

import click

from actorrl.config import did_you_mean
from actorrl.errors import ActorRLError, ConfigError

MAX_TRACEBACK_LINES = 30  # of the user's own environment; the innermost frames are the last


def show(error: ActorRLError) -> None:
    """The user's own traceback first, where there is one, then how to go on (the error's notes),
    and what happened last, where a terminal shows it."""
    traceback: str = getattr(error, "user_traceback", "")
    if traceback:
        lines = traceback.rstrip().splitlines()
        if len(lines) > MAX_TRACEBACK_LINES:
            lines = ["  ...", *lines[-MAX_TRACEBACK_LINES:]]
        click.echo("\n".join(lines), err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(note, err=True)
    for message in messages_of(error):
        click.echo(f"error: {message}", err=True)


def messages_of(error: ActorRLError) -> list[str]:
    """Lines for the user: every mistake of a ConfigError, else the one text."""
    if isinstance(error, ConfigError):
        return error.messages
    return [str(error) or type(error).__name__]


def show_usage(error: click.ClickException) -> None:
    """Mistakes on the command line itself: an unknown option, a value of the wrong type."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return
    click.echo(f"error: {usage_message(error)}", err=True)
    ctx = getattr(error, "ctx", None)
    if ctx is not None and ctx.parent is not None:
        click.echo(f"`{ctx.command_path} --help` lists the options", err=True)


def usage_message(error: click.ClickException) -> str:
    """`<key as the user wrote it>: <what is wrong>, <what is accepted>`, as for settings."""
    if isinstance(error, click.NoSuchOption):
        ctx = error.ctx
        options = [name for p in ctx.command.params for name in p.opts] if ctx is not None else []
        return f"{error.option_name}: unknown option{did_you_mean(error.option_name, options)}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        key = error.param.opts[0] if error.param.opts else str(error.param.name)
        if error.param.param_type_name == "argument":
            key = error.param.make_metavar(error.ctx) if error.ctx else key
        if isinstance(error, click.MissingParameter):
            return f"{key}: missing"
        return f"{key}: {error.message[:1].lower()}{error.message[1:].rstrip('.')}"
    return error.format_message()


def print_to_nobody() -> None:
    """Standard output has no reader any more (`| head`): what is printed from now on, also by the
    interpreter at its end, goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
