"""Running something on a host: one shell line, told over standard input, and what it answers.

What sshd is asked to run is always `COMMAND`, a constant without anything to quote: login shells
differ, and arguments of processes are seen by everybody on the host. The line that it evaluates,
and all that follows, comes over standard input. Answers are the lines that begin with a random
mark, so that nothing a start-up file prints is taken for one.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import select
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import paramiko

from actorrl.errors import HostError
from actorrl.runtime.launchers.connection import Connection, close_quietly

COMMAND = """exec sh -c 'IFS= read -r line && eval "$line"'"""
# Reads a script of so many bytes and one line of parameters, and says what its `main` returns.
_STUB = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; import json; d = sys.stdin.buffer; "
    "names = {'__name__': 'remote'}; exec(d.read(int(d.readline())), names); "
    "told = json.loads(d.readline().decode()); answer = names['main'](told, d); "
    "print('\\n' + told['mark'], json.dumps(answer), flush=True)"
)
_SESSION_S = 30.0
_MAX_OUTPUT = 1 << 20
_MAX_TAIL = 4000
_PART = 1 << 15


class Answer(NamedTuple):
    """`code` is None when the connection ended first; `errors` the end of what went to stderr."""

    code: int | None
    output: bytes
    errors: str


class NoAnswer(HostError):
    """A script ended without having said anything. `answer` is what there was."""

    def __init__(self, message: str, answer: Answer) -> None:
        super().__init__(message)
        self.answer = answer


def shell_path(path: str) -> str:
    """A path as a word of the shell, whatever it contains; a leading ~ is the home directory."""
    if path == "~":
        return '"$HOME"'
    if path.startswith("~/"):
        return f'"$HOME"/{shlex.quote(path[2:])}'
    return shlex.quote(path)


def run_script(
    connection: Connection,
    python: str,
    name: str,
    parameters: dict[str, Any],
    timeout_s: float,
    data: bytes = b"",
) -> dict[str, Any]:
    """What `remote/NAME.py` answers, run by `python` on the host. Raises HostError."""
    line = f"exec {shlex.quote(python)} -c @STUB@"
    return run_script_by(line, connection, name, parameters, timeout_s, data)


def run_script_by(
    line: str,
    connection: Connection,
    name: str,
    parameters: dict[str, Any],
    timeout_s: float,
    data: bytes = b"",
) -> dict[str, Any]:
    """The same with the shell line that starts the interpreter; @STUB@ is what it is to run."""
    mark, sent = _first_words(line, name, parameters)
    answer = run(connection, sent + data, timeout_s)
    for said in answer.output.splitlines():
        if (found := _marked(said, mark)) is not None:
            return found
    raise NoAnswer(_nothing_said(connection.name, name, answer), answer)


def _first_words(line: str, name: str, parameters: dict[str, Any]) -> tuple[str, bytes]:
    """The mark of the answers, and what is sent to start a script."""
    mark = f"actorrl-{secrets.token_hex(8)}"
    script = Path(__file__).parent.joinpath("remote", f"{name}.py").read_bytes()
    line = line.replace("@STUB@", shlex.quote(_STUB))
    told = json.dumps({**parameters, "mark": mark})
    return mark, f"{line}\n{len(script)}\n".encode() + script + f"{told}\n".encode()


def _marked(line: bytes, mark: str) -> dict[str, Any] | None:
    if line.startswith(f"{mark} ".encode()):
        with contextlib.suppress(ValueError):
            found: dict[str, Any] = json.loads(line[len(mark) :])
            return found
    return None


class Conversation:
    """A script that answers more than once: it prints its mark and an object, and reads lines of
    JSON. It has to end when its standard input does."""

    def __init__(
        self,
        connection: Connection,
        python: str,
        name: str,
        told: dict[str, Any],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`variables` go into its environment. Raises HostError."""
        self._connection = connection
        words = [f"{key}={shlex.quote(value)}" for key, value in (variables or {}).items()]
        line = " ".join(["exec", *(["env"] if words else []), *words, shlex.quote(python), "-c"])
        line += " @STUB@"
        self._mark, sent = _first_words(line, name, told)
        self._heard = b""
        self.channel = open_session(connection, _SESSION_S)
        try:
            self.channel.settimeout(_SESSION_S)
            self.channel.exec_command(COMMAND)
            self.channel.sendall(sent)
        except (paramiko.SSHException, EOFError, OSError) as error:
            close_quietly(self.channel)
            raise self._lost(error) from None

    def hear(self, timeout_s: float) -> dict[str, Any]:
        """The next answer. Raises HostError when none comes in time."""
        deadline = time.monotonic() + timeout_s
        while True:
            line, found, rest = self._heard.partition(b"\n")
            if found:
                self._heard = rest
                if (answer := _marked(line, self._mark)) is not None:
                    return answer
                continue
            try:
                self.channel.settimeout(max(0.01, deadline - time.monotonic()))
                part = self.channel.recv(_PART)
            except OSError as error:
                raise self._lost(error) from None
            if not part:
                raise self._lost(EOFError("it ended"))
            self._heard = (self._heard + part)[-_MAX_OUTPUT:]

    def say(self, words: dict[str, Any]) -> None:
        try:
            self.channel.settimeout(_SESSION_S)
            self.channel.sendall(json.dumps(words).encode() + b"\n")
        except OSError as error:
            raise self._lost(error) from None

    def close(self) -> None:
        close_quietly(self.channel)

    def _lost(self, error: Exception) -> HostError:
        why = str(error) or type(error).__name__
        return HostError(f"{self._connection.name}: no answer over SSH ({why})")


def run(connection: Connection, sent: bytes, timeout_s: float) -> Answer:
    """Run COMMAND with `sent` on its standard input. Raises HostError when it takes too long or
    says too much."""
    deadline = time.monotonic() + timeout_s
    try:
        channel = open_session(connection, timeout_s)
        try:
            channel.settimeout(timeout_s)
            channel.exec_command(COMMAND)
            with contextlib.suppress(OSError):  # it has ended already: its exit says why
                channel.sendall(sent)
                channel.shutdown_write()
            return _gather(channel, deadline)
        finally:
            close_quietly(channel)
    except TimeoutError:
        raise HostError(f"{connection.name}: no answer within {timeout_s:g} s") from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _lost(connection, error) from None


def open_session(connection: Connection, timeout_s: float) -> Any:
    """A channel for one command. Raises HostError where the server refuses it, and where the
    connection is lost."""
    try:
        return connection.transport.open_session(timeout=timeout_s)
    except paramiko.ChannelException as error:
        raise HostError(
            f"{connection.name}: its SSH server opens no session ({error.text})\n"
            "  see MaxSessions and ForceCommand in its sshd_config"
        ) from None
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _lost(connection, error) from None


def _lost(connection: Connection, error: Exception) -> HostError:
    why = str(error) or type(error).__name__
    return HostError(f"{connection.name}: the SSH connection is lost ({why})")


def _gather(channel: Any, deadline: float) -> Answer:
    """Drain both streams until they end: a command's exit alone does not say that they have."""
    output, tail = bytearray(), bytearray()
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while True:
        if channel.recv_ready():
            output += channel.recv(_PART)
            if len(output) > _MAX_OUTPUT:
                raise OSError(f"more than {_MAX_OUTPUT} bytes were answered")
        elif channel.recv_stderr_ready():
            tail = (tail + channel.recv_stderr(_PART))[-_MAX_TAIL:]
        elif channel.eof_received or channel.closed:
            break
        else:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            poll.poll(min(left, 1.0) * 1000)
    return Answer(_exit_code(channel, deadline), bytes(output), tail.decode(errors="replace"))


def _exit_code(channel: Any, deadline: float) -> int | None:
    if not channel.status_event.wait(max(0.0, deadline - time.monotonic())):
        return None
    code: int = channel.exit_status
    return code if code >= 0 else None


def _nothing_said(host: str, name: str, answer: Answer) -> str:
    said = answer.errors.strip() or answer.output.decode(errors="replace").strip()[-_MAX_TAIL:]
    last = "".join(f"\n  {line}" for line in said.splitlines()[-8:])
    return f"{host}: {name.replace('_', ' ')}: it ended with exit code {answer.code}{last}"
