"""Starts an agent on this machine: a fresh interpreter in a session of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

from actorrl.runtime.launchers import early
from actorrl.runtime.strays import HOST_VARIABLE, RUN_ID_VARIABLE

_MAIN = "from actorrl.runtime.agent import main; main()"
# One thread per actor; a role that wants more sets it itself. Read by the libraries at import.
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_TAIL_BYTES = 2000


class LocalAgentProcess:
    """The agent learns everything over its standard input; its environment carries the run's id, by
    which every process of the run can be found. With a `lifeline` standard input stays open: it is
    to think that the driver is on another host."""

    def __init__(self, run_id: str, host: str, log_dir: Path, lifeline: bool = False) -> None:
        self._environment = environment(run_id, host)
        self._log = log_dir / f"agent-{host}.log"
        self._lifeline = lifeline
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._closing = threading.Lock()

    def start(self, config: bytes) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._process = early.take(self._environment, self._log) or self._started()
        self._pidfd = os.pidfd_open(self._process.pid)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already: who watches it will see
            self._process.stdin.write(config)
            self._process.stdin.flush()
            if not self._lifeline:
                self._process.stdin.close()

    def _started(self) -> subprocess.Popen[bytes]:
        with open(self._log, "ab") as output:
            return subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN],  # -P: the working directory hides no module
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=self._environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def fileno(self) -> int:
        """Can be read when it has ended."""
        return self._pidfd

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll() if self._process is not None else None

    def wait(self, timeout_s: float) -> int | None:
        """The same, after so many seconds at most."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self._process is not None:
                return self._process.wait(timeout_s)
        return self.poll()

    def stderr_tail(self) -> str:
        """The end of its log."""
        try:
            return self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
        except OSError:
            return ""

    def kill(self) -> None:
        """Its actors end with it."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End it, if it has not, and break the lifeline. Idempotent."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.kill()
        early.reap(self._process)
        with self._closing:  # a fenced agent is closed on a thread, and at the run's end
            pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)


def environment(run_id: str, host: str) -> dict[str, str]:
    """What an agent on this machine finds in its environment."""
    found = {**os.environ, RUN_ID_VARIABLE: run_id, HOST_VARIABLE: host}
    found["CUDA_VISIBLE_DEVICES"] = ""
    for variable in ONE_THREAD:
        found.setdefault(variable, "1")
    # children find the user's modules where the driver finds them
    paths = [os.getcwd() if path == "" else path for path in sys.path]
    found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return found
