"""One actor as its agent knows it, from the order to start it to its end."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass

from actorrl.runtime import strays
from actorrl.runtime.starter import Process

_LOG_TAIL_BYTES = 4000
_STACK_BYTES = 64 * 1024
MAX_LOG_BYTES = 256 * 2**20
_KEPT_BYTES = 2**20


@dataclass
class Running:
    name: str
    incarnation: int
    log_file: str
    log_start: int  # what lies before in the log is its predecessors'
    progress_limit_s: float
    memory_limit: int  # bytes of its own; 0: none
    process: Process | None = None  # until the starter has started it
    route: bytes | None = None  # of its control thread, once it has said hello
    has_failed: bool = False  # it has said why it is about to end
    was_killed: bool = False  # by its agent
    over_limit: tuple[int, int] | None = None  # bytes that it held, and may hold: the reason

    @property
    def slot(self) -> str:
        """A file name for this incarnation."""
        return f"{self.name.replace('/', '-')}.{self.incarnation}"

    def kill(self) -> None:
        self.was_killed = True
        if self.process is not None:
            strays.kill_group(self.process.pid)

    def dump_stack(self, why: str) -> int:
        """Have its threads written into its log, by a signal handler in C: it also answers while
        the process holds its GIL. Where in the log that begins."""
        start = 0
        with contextlib.suppress(OSError):
            start = os.stat(self.log_file).st_size
        if self.process is not None:
            answers = _catches(self.process.pid, signal.SIGUSR1)
            if not answers:
                why += " not known, its environment has taken SIGUSR1 away"
            with contextlib.suppress(OSError), open(self.log_file, "a") as log:
                log.write(f"{self.name}: {why}\n")
            if answers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.process.pid, signal.SIGUSR1)
        return start

    def log_from(self, start: int) -> str:
        """What its log has from there on."""
        try:
            with open(self.log_file, "rb") as file:
                file.seek(start)
                return file.read(_STACK_BYTES).decode(errors="replace")
        except OSError:
            return ""

    def trim_log(self) -> None:
        """An environment that prints without end fills no disk: of a log that is too long the end
        is kept, and it says how much was left out. Who writes it appends, wherever its end is."""
        with contextlib.suppress(OSError):
            size = os.stat(self.log_file).st_size
            if size <= MAX_LOG_BYTES:
                return
            with open(self.log_file, "r+b") as file:
                file.seek(-_KEPT_BYTES, os.SEEK_END)
                kept = file.read(_KEPT_BYTES)
                file.truncate(0)
            with open(self.log_file, "ab") as file:
                file.write(f"({size - len(kept)} bytes were here, and are left out)\n".encode())
                file.write(kept)
            self.log_start = 0

    def log_tail(self) -> str:
        """The end of what this incarnation wrote into its log."""
        try:
            with open(self.log_file, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self.log_start, size - _LOG_TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal, which would else end it."""
    try:
        with open(f"/proc/{pid}/status") as file:
            (caught,) = (line.split()[1] for line in file if line.startswith("SigCgt"))
    except (OSError, ValueError):
        return True
    return bool(int(caught, 16) >> (number - 1) & 1)
