"""The thread of an agent that starts actors, and the agent's loop, which sees them end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile

from actorrl.runtime import starter
from actorrl.wire.control_messages import ActorSpec
from tests.runtime.clusters import wait_until


def test_how_an_actor_ended_is_read_by_who_asks_and_by_no_other_start() -> None:
    with tempfile.TemporaryDirectory() as folder:  # its path has to be short
        spec = ActorSpec(
            name="worker/0",
            incarnation=1,
            host="here",
            address=f"ipc://{folder}/worker",
            agent_address=f"ipc://{folder}/agent",
            agent_pid=os.getpid(),
            memory_address="",
            log_file=f"{folder}/log",
            blob=b"",
        )
        process = starter._fork(multiprocessing.get_context("forkserver"), spec)
        assert process.handle not in multiprocessing.active_children()  # which polls them all
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: process.exit_code() is not None)
        assert process.exit_code() == -signal.SIGKILL
        process.forget()
