"""A host's agent, started over its SSH connection, which stays its lifeline.

The agent is a session leader. Its configuration goes over standard input, which then stays open:
where it ends, the agent knows that the driver's line is broken. Nothing of the configuration is
seen in arguments, environment or files; the environment carries the run's id alone, and the
variables that the host file names.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import secrets
import select
import shlex
import threading
from typing import Any, NamedTuple

import paramiko

from actorrl.errors import HostError
from actorrl.runtime.launchers.connection import Connection, close_quietly
from actorrl.runtime.launchers.dialling import connect
from actorrl.runtime.launchers.forwards import Forwards
from actorrl.runtime.launchers.remote_command import (
    COMMAND,
    Conversation,
    open_session,
    run_script,
)
from actorrl.runtime.strays import HOST_VARIABLE, RUN_ID_VARIABLE

_MAIN = "from actorrl.runtime.agent import main; main()"
# Takes its environment from the first line, then becomes the agent. Reads no byte too many.
_BECOME = """
import json, os, sys
told = json.loads(open(0, "rb", 0, closefd=False).readline().decode())
try:
    os.setsid()
except OSError:
    pass
os.chdir(os.path.expanduser(told["directory"]))
os.environ.update(told["environment"])
print(told["mark"], os.getpid(), flush=True)
os.execv(sys.executable, [sys.executable, "-P", "-c", told["main"]])
"""
_START_S = 60.0
_KILL_S = 10.0
_CLOSE_S = 5.0
_MAX_TAIL = 8000
_PART = 1 << 14


class AgentPlace(NamedTuple):
    """How the agent is started on its host. `python` and `directory` are paths there."""

    python: str
    directory: str
    environment: dict[str, str]


class SshAgentProcess:
    """One agent. `start` once, then any thread may call the rest."""

    def __init__(
        self,
        connection: Connection,
        place: AgentPlace,
        run_id: str,
        drops: collections.Counter[str],
    ) -> None:
        """`drops`: see `Forwards`."""
        self._connection = connection
        self._place = place
        self._run_id = run_id
        self._forwards = Forwards(connection, drops)
        self._channel: Any = None
        self._reader: threading.Thread | None = None
        self._end = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._tail = bytearray()
        self._mark = f"actorrl-{secrets.token_hex(8)}"
        self._begun = threading.Event()  # the pid is known, or it has ended
        self._code: int | None = None
        self._is_held = False  # the channel is not the agent's own any more
        self._killer: threading.Thread | None = None
        self.pid: int | None = None
        self.connection_lost = False  # it ended without saying how: the agent may live on

    def start(self, config: bytes) -> None:
        """Start it and hand it its configuration as it is: the bytes have to say themselves where
        they end. Returns when its process is there. Raises HostError with what it said."""
        self._channel = open_session(self._connection, _START_S)
        try:
            self._channel.settimeout(_START_S)
            self._channel.set_combine_stderr(True)
            self._channel.exec_command(COMMAND)
            self._channel.sendall(self._first_lines() + config)
            self._channel.settimeout(None)
        except (paramiko.SSHException, EOFError, OSError) as error:
            close_quietly(self._channel)
            raise HostError(f"{self._connection.name}: agent: not started ({error})") from None
        self._start_reader()
        if not self._begun.wait(_START_S) or self.pid is None:
            close_quietly(self._channel)
            tail = "".join(f"\n  {line}" for line in self.stderr_tail().splitlines()[-8:])
            raise HostError(f"{self._connection.name}: agent: it does not start{tail}")

    def fileno(self) -> int:
        """Can be read when the agent, or the connection to it, has ended."""
        return self._end

    def poll(self) -> int | None:
        """Its exit code; None while it runs; -1 when nothing but the end is known."""
        return self._code

    def wait(self, timeout_s: float) -> int | None:
        """The same, after so many seconds at most."""
        if self._reader is not None:
            self._reader.join(timeout_s)
        return self._code

    def stderr_tail(self) -> str:
        """The end of what it printed."""
        with self._lock:
            return bytes(self._tail).decode(errors="replace").strip()

    def reopen(self) -> int:
        """After the connection was lost: another one, see `Connected`. Nothing that the agent says
        on its standard output comes over it, and its exit code is not known in the end."""
        connection = connect(self._connection.spec, self._connection.name)
        try:
            told = {"pid": self.pid, "variable": self._variable}
            variables = {RUN_ID_VARIABLE: self._run_id}  # it is of the run as well
            if HOST_VARIABLE in self._place.environment:
                variables[HOST_VARIABLE] = self._place.environment[HOST_VARIABLE]
            python = self._place.python
            holder = Conversation(connection, python, "hold", told, variables)
            pid: int | None = holder.hear(_START_S)["pid"]
            if pid is None:
                raise HostError(f"{connection.name}: the agent has ended")
            self._adopt(connection, holder)
        except (paramiko.SSHException, EOFError, OSError, HostError) as error:
            connection.close()
            raise HostError(f"{connection.name}: no new lifeline ({error})") from None
        return pid

    def _adopt(self, connection: Connection, holder: Conversation) -> None:
        with self._lock:
            if self._end < 0:
                raise HostError(f"{connection.name}: the run is over")
            old, self._connection, self._channel = self._connection, connection, holder.channel
            self._code, self.connection_lost, self._is_held = None, False, True
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._end)
        old.close()
        self._start_reader()

    def _start_reader(self) -> None:
        self._reader = threading.Thread(target=self._read, name="ssh agent", daemon=True)
        self._reader.start()

    def kill(self) -> None:
        """Have the host kill it, and close its channel; does not wait."""
        self._killer = threading.Thread(target=self._kill, name="ssh kill", daemon=True)
        self._killer.start()

    def forward_to_driver(self, port: int, address: str = "127.0.0.1") -> int:
        """See Forwards.to_driver."""
        return self._forwards.to_driver(port, address)

    def forward_from_driver(self, port: int, address: str = "127.0.0.1") -> int:
        """See Forwards.from_driver."""
        return self._forwards.from_driver(port, address)

    def close(self) -> None:
        """Break the lifeline and the connection, once a `kill` has got through."""
        if self._killer is not None:
            self._killer.join(_KILL_S)
        self._forwards.close()
        if self._channel is not None:
            close_quietly(self._channel)
        self._connection.close()
        if self._reader is not None:
            self._reader.join(_CLOSE_S)
        with self._lock:
            if self._end >= 0:
                os.close(self._end)
                self._end = -1

    # ---- inside -------------------------------------------------------------------------

    @property
    def _variable(self) -> str:
        """By which its host knows the agent."""
        return f"{RUN_ID_VARIABLE}={self._run_id}"

    def _first_lines(self) -> bytes:
        told = {
            "mark": self._mark,
            "main": _MAIN,
            "directory": self._place.directory,
            "environment": {**self._place.environment, RUN_ID_VARIABLE: self._run_id},
        }
        script = f"exec({_BECOME!r})"  # without line ends: the shell reads one line
        line = f"exec {shlex.quote(self._place.python)} -c {shlex.quote(script)}"
        return line.encode() + b"\n" + json.dumps(told).encode() + b"\n"

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while True:
            if self._channel.recv_ready():
                self._keep(self._channel.recv(_PART))
            elif self._channel.eof_received or self._channel.closed:
                break
            else:
                poll.poll(1000)
        self._ended()

    def _keep(self, part: bytes) -> None:
        with self._lock:
            self._tail += part
            if self.pid is None:
                self._look_for_pid()
            del self._tail[:-_MAX_TAIL]

    def _look_for_pid(self) -> None:
        """What start-up files printed before the mark is forgotten with it."""
        _, found, rest = self._tail.partition(f"{self._mark} ".encode())
        number, line_end, rest = rest.partition(b"\n")
        if found and line_end:
            self.pid = int(number)
            self._tail = rest
            self._begun.set()

    def _ended(self) -> None:
        known = self._channel.status_event.wait(_CLOSE_S)
        code = self._channel.exit_status if known else -1
        if self._is_held:  # what holds it has ended with the agent, or with the connection
            code, self.connection_lost = -1, code != 0
        else:
            self.connection_lost = code < 0 and not self._connection.is_alive
        close_quietly(self._channel)
        with self._lock:
            self._code = code
            if self._end >= 0:
                os.eventfd_write(self._end, 1)
        self._begun.set()

    def _kill(self) -> None:
        with contextlib.suppress(HostError):
            if self.pid is not None and self._code is None:
                told = {"pid": self.pid, "variable": self._variable}
                run_script(self._connection, self._place.python, "kill", told, _KILL_S)
        if self._channel is not None:
            close_quietly(self._channel)
