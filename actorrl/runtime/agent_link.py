"""The driver's line to a host's agent: the agent's process, the socket to it, the run's directory.

Made and closed by the user's thread; between the two the service thread alone speaks and listens.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from actorrl.errors import WireError
from actorrl.runtime import run_directory
from actorrl.runtime.launchers.local import start_agent
from actorrl.runtime.supervisor import SlotState
from actorrl.wire import sockets
from actorrl.wire.messages import (
    AgentConfig,
    AgentHello,
    Control,
    decode_control,
    encode_control,
)

HOST = "local"


class AgentLink:
    """See the module. `socket` and `pidfd` can be polled once it is open."""

    def __init__(self, run_id: str, log_dir: Path | None) -> None:
        self._run_id = run_id
        self._log_dir = log_dir
        self._directory: Path | None = None
        self._context: zmq.Context | None = None
        self.socket: zmq.Socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.pidfd = -1
        self._route: bytes | None = None

    # ---- by the user's thread -----------------------------------------------------------

    def open(self, slots: list[str]) -> Path:
        """Make the run's directory, returned, and the socket in it."""
        self._directory = path = run_directory.make(self._run_id, slots)
        self._context = sockets.new_context()
        self.socket = sockets.router(self._context, f"ipc://{path}/driver.ctl")
        return path

    def start(self, preload: list[str]) -> int:
        """Start the agent; its pid."""
        assert self._directory is not None
        log_dir = self._log_dir or self._directory
        log_dir.mkdir(parents=True, exist_ok=True)
        self.process = start_agent(
            AgentConfig(
                run_id=self._run_id,
                host=HOST,
                driver_pid=os.getpid(),
                driver_address=f"ipc://{self._directory}/driver.ctl",
                socket_dir=str(self._directory),
                log_dir=str(log_dir.absolute()),
                preload=preload,
            )
        )
        self.pidfd = os.pidfd_open(self.process.pid)
        return self.process.pid

    def end(self, patience_s: float) -> None:
        """Wait so long for the agent to leave by itself, then kill it."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """After the service thread has ended."""
        if self._context is not None:
            self._context.destroy(linger=0)
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def rows(self) -> list[dict[str, Any]]:
        """The agent's row of the run's status."""
        alive = self.process is not None and self.process.poll() is None
        return [
            {
                "name": f"agent/{HOST}",
                "role": "agent",
                "host": HOST,
                "pid": self.process.pid if self.process is not None and alive else None,
                "state": str(SlotState.READY if alive else SlotState.STOPPED),
                "incarnation": 1,
                "restarts": 0,
                "last_error": None,
            }
        ]

    # ---- by the service thread ----------------------------------------------------------

    @property
    def is_up(self) -> bool:
        """Whether the agent has said hello."""
        return self._route is not None

    def say(self, message: Control) -> None:
        """Nothing happens while the agent is not up."""
        if self._route is not None and self.socket is not None:
            with contextlib.suppress(zmq.ZMQError):
                self.socket.send_multipart([self._route, encode_control(message)])

    def heard(self, timeout_ms: int = 0) -> Iterator[Control]:
        """What the agent has said, waiting so long for the first of it."""
        assert self.socket is not None
        if not self.socket.poll(timeout_ms):
            return
        with contextlib.suppress(zmq.Again):
            while True:
                route, *_, frame = self.socket.recv_multipart(zmq.NOBLOCK)
                with contextlib.suppress(WireError):
                    message = decode_control(frame)
                    if isinstance(message, AgentHello):
                        self._route = route
                    yield message

    def terminate(self) -> None:
        """End an agent that is not up yet: it has started nobody."""
        if self.process is not None and not self.is_up:
            self.process.terminate()

    def kill(self) -> None:
        """Nobody listens to it any more; its actors end with it."""
        if self.process is not None:
            self.process.kill()
