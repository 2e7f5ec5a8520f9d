"""An agent by itself, which takes the test for a driver on another host."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from actorrl.runtime.launchers.local import LocalAgentProcess
from actorrl.wire import sockets
from actorrl.wire.control_messages import AgentConfig, encode_config
from tests.runtime.clusters import PATIENCE_S


class LoneAgent:
    """Started; it has said hello."""

    def __init__(self, run_id: str, sockets_in: str, log_dir: Path, **told: Any) -> None:
        self._context = sockets.new_context()
        addresses = [f"ipc://{sockets_in}/{name}" for name in ("control", "beats")]
        self._lines = [sockets.router(self._context, address) for address in addresses]
        self.process = LocalAgentProcess(run_id, "here", log_dir, lifeline=True)
        config = AgentConfig(
            run_id=run_id,
            host="here",
            incarnation=1,
            driver_address=addresses[0],
            beat_address=addresses[1],
            log_dir=str(log_dir),
            **{"preload": [], "slots": [], "lease_s": 1000.0, **told},
        )
        self.process.start(encode_config(config))
        assert self.control.poll(int(PATIENCE_S * 1000)), self.process.stderr_tail()
        self._route, _ = self.control.recv_multipart()

    @property
    def control(self) -> zmq.Socket:
        return self._lines[0]

    def say(self, frame: bytes) -> None:
        self.control.send_multipart([self._route, frame])

    def break_lifeline(self) -> None:
        process = self.process._process
        assert process is not None and process.stdin is not None
        process.stdin.close()

    def close(self) -> None:
        self.process.close()
        self._context.destroy(linger=0)


@contextlib.contextmanager
def lone_agent(run_id: str, log_dir: Path, **told: Any) -> Iterator[LoneAgent]:
    """`told` are fields of its AgentConfig."""
    with tempfile.TemporaryDirectory() as folder:  # its path has to be short
        agent = LoneAgent(run_id, folder, log_dir, **told)
        try:
            yield agent
        finally:
            agent.close()
