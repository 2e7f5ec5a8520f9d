"""Where `actorrl top` and `actorrl stack` ask about a live run: a Unix socket in its directory,
which only this user can enter. One question per connection, in JSON, answered by the driver.

    {"ask": "top"}                          -> {"actors": [...], "hosts": [...]}
    {"ask": "stack", "actor": "rollout/3"}  -> {"text": "..."}        or {"error": "..."}
"""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import time
from os import getuid
from pathlib import Path
from typing import Any, NamedTuple

from actorrl.errors import RunFolderError, WireError

_NAME = "desk"
_MAX_QUESTION = 4096
_HEAR_S = 0.2  # whoever connects has its question ready
_WAIT_S = 5.0  # for an answer that another host has to give
_MAX_WAITING = 64


class Question(NamedTuple):
    ask: str  # "top" | "stack", or anything else that somebody says
    actor: str


def decode_question(line: bytes) -> Question:
    """Raises WireError."""
    try:
        said = json.loads(line)
        if not isinstance(said, dict):
            raise ValueError("no object")
        return Question(str(said.get("ask", "")), str(said.get("actor", "")))
    except (ValueError, RecursionError) as error:
        raise WireError(f"no question: {error}") from error


class Desk:
    """The driver's side. The service thread's."""

    def __init__(self, directory: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(directory / _NAME))
        self._listener.listen(8)
        self._listener.setblocking(False)
        self._waiting: list[tuple[float, str, socket.socket]] = []

    def fileno(self) -> int:
        return self._listener.fileno()

    def take(self) -> tuple[socket.socket, Question] | None:
        """A question that has come; it is answered with `answer`, or later through `wait`."""
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return None
        with contextlib.suppress(OSError, WireError):
            question = decode_question(_line(connection))
            connection.settimeout(_HEAR_S)
            return connection, question
        connection.close()
        return None

    def wait(self, actor: str, connection: socket.socket) -> None:
        """The answer is on its way."""
        if len(self._waiting) >= _MAX_WAITING:
            answer(connection, {"error": "too many ask at the same time"})
        else:
            self._waiting.append((time.monotonic() + _WAIT_S, actor, connection))

    def arrived(self, actor: str, reply: dict[str, Any]) -> None:
        for entry in [entry for entry in self._waiting if entry[1] == actor]:
            self._waiting.remove(entry)
            answer(entry[2], reply)

    def tick(self) -> None:
        """Tell those who have waited too long."""
        late = [entry for entry in self._waiting if entry[0] < time.monotonic()]
        for entry in late:
            self._waiting.remove(entry)
            answer(entry[2], {"error": f"{entry[1]}: its host does not answer"})

    def close(self) -> None:
        for _, _, connection in self._waiting:
            connection.close()
        self._listener.close()


def _line(connection: socket.socket) -> bytes:
    """The first line, as far as it comes in `_HEAR_S`: the run does not wait for a slow asker."""
    heard, deadline = b"", time.monotonic() + _HEAR_S
    while b"\n" not in heard and len(heard) < _MAX_QUESTION:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(_MAX_QUESTION)
        if not part:
            break
        heard += part
    return heard.partition(b"\n")[0]


def answer(connection: socket.socket, reply: dict[str, Any]) -> None:
    with contextlib.suppress(OSError), connection:
        connection.sendall(json.dumps(reply).encode())


def ask(run_id: str, question: dict[str, Any]) -> dict[str, Any]:
    """For the command line. Raises RunFolderError if nobody answers."""
    path = Path(tempfile.gettempdir(), f"actorrl-{getuid()}", run_id, _NAME)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(2 * _WAIT_S)
            line.connect(str(path))
            line.sendall(json.dumps(question).encode() + b"\n")
            reply = json.loads(line.makefile("rb").read())
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"the run's driver does not answer at {path} ({error}): it has ended, is being started,"
            " or has another TMPDIR than this terminal"
        ) from None
    if "error" in reply:
        raise RunFolderError(str(reply["error"]))
    return dict(reply)
