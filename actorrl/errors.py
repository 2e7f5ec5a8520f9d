"""Every error that actorrl raises on purpose, and the exit code that the command line gives it.

A message says what happened, why, and what to do. User mistakes never show a stack of ours.
"""

from __future__ import annotations

import shlex
import sys

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_PLACEMENT = 4
EXIT_VERSION = 5
EXIT_STRAYS = 6
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


def how_to_install(extra: str) -> str:
    """The command that installs an extra for this Python: the `pip` on PATH is another's where
    scripts/launch has made the environment."""
    return f'{shlex.quote(sys.executable)} -m pip install "actorrl[{extra}]"'


class ActorRLError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = EXIT_FAILED
    fatal = False  # True: an actor that ends with it is not started again, the run ends


class ConfigError(ActorRLError):
    """One or more mistakes in settings, each an unwrapped line `<key>: <wrong>, <accepted>`."""

    exit_code = EXIT_USAGE

    def __init__(self, messages: str | list[str]) -> None:
        self.messages = [messages] if isinstance(messages, str) else list(messages)
        super().__init__("\n".join(self.messages))


class EnvironmentFailure(ActorRLError):
    """The user's environment raised or broke its contract.

    `user_traceback` is the environment's own traceback as text (frames of actorrl left out);
    `during_check` is True on the driver's check before anything starts (exit code 2).
    """

    fatal = True

    def __init__(self, message: str, user_traceback: str = "", during_check: bool = False) -> None:
        super().__init__(message)
        self.user_traceback = user_traceback
        self.exit_code = EXIT_USAGE if during_check else EXIT_FAILED


class HostError(ActorRLError):
    """A host cannot be reached, trusted or prepared. The text is one screen at most: the host, what
    happened, and in further lines what to do."""

    exit_code = EXIT_UNREACHABLE


class VersionError(HostError):
    """A host's Python minor version, protocol or actorrl differs from the driver's."""

    exit_code = EXIT_VERSION


class PlacementError(ActorRLError):
    """The actors cannot be placed on the hosts at hand."""

    exit_code = EXIT_PLACEMENT


class RunFolderError(ActorRLError):
    """The run folder exists already, belongs to a live driver, is missing or is not writable."""

    exit_code = EXIT_USAGE


class CheckpointError(ActorRLError):
    """A checkpoint is incomplete, damaged, or belongs to something else."""

    exit_code = EXIT_USAGE


class WireError(ActorRLError):
    """Bytes from a peer that do not form a message, or a value that cannot be put on the wire."""


class ProgramError(ActorRLError):
    """A Program that contradicts itself: unknown actor, two links of one name, no handler."""

    exit_code = EXIT_USAGE


class CallError(ActorRLError):
    """A call to an actor did not return a value.

    `executed` says whether the method ran: "no", "maybe" or "yes". Delivery is at most once, so
    "maybe" means: it was sent, and nothing is known since.
    """

    def __init__(self, message: str, executed: str = "maybe") -> None:
        super().__init__(f"{message} (executed: {executed})")
        self.executed = executed


class CallTimeout(CallError):
    """The deadline of a call passed."""


class ActorDied(CallError):
    """The process behind an actor's name ended while a call to it was open."""


class CallCycle(CallError):
    """In one process, an actor was called while it was waiting for the caller."""


class RemoteError(CallError):
    """The method ran and raised. The text holds the remote traceback, actor, host and pid."""

    def __init__(
        self,
        type_name: str,
        message: str,
        remote_traceback: str,
        where: str,
        executed: str = "yes",
    ) -> None:
        text = f"{type_name}: {message}\n  raised in {where}\n{remote_traceback}"
        super().__init__(text, executed)
        self.type_name = type_name
        self.remote_message = message
        self.remote_traceback = remote_traceback
        self.where = where


class RunFailed(ActorRLError):
    """A run ended because an actor failed for good; the text is the one root cause."""

    def __init__(self, message: str, user_traceback: str = "") -> None:
        super().__init__(message)
        self.user_traceback = user_traceback
