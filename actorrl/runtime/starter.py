"""The agent's thread that starts actors' processes, one after another.

The first fork has to wait until the forkserver has imported what the Program names, which may take
seconds; the agent's loop must see meanwhile that the driver is gone. The thread lives as long as
the agent: parent-death signals of what it starts fire when it ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

import msgspec

from actorrl.runtime import child, preload
from actorrl.wire.control_messages import ActorSpec

_FRESH = "from actorrl.runtime.child import main_from_stdin; main_from_stdin()"


@dataclass
class Process:
    """An actor's process, however it was started. `sentinel` can be read when it has ended."""

    pid: int
    sentinel: int
    handle: BaseProcess | subprocess.Popen[bytes]

    def exit_code(self) -> int | None:
        """None while it lives; negative for a signal."""
        if isinstance(self.handle, subprocess.Popen):
            return self.handle.poll()
        self.handle.join(0)
        return self.handle.exitcode

    def outlives_its_end(self) -> bool:
        """Whether it lives although its end was told: the forkserver, which tells it, has died."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                return file.read().rpartition(b") ")[2][:1] not in b"ZX"
        except OSError:
            return False

    def forget(self) -> None:
        """Close what was kept of an ended process."""
        if isinstance(self.handle, subprocess.Popen):
            os.close(self.sentinel)
        else:
            self.handle.close()


@dataclass
class Started:
    """What became of one order: a process, or why there is none."""

    name: str
    incarnation: int
    process: Process | None
    error: str = ""


class Starter(threading.Thread):
    """See the module. `on_started` is called on this thread."""

    def __init__(self, preload_names: list[str], on_started: Callable[[Started], None]) -> None:
        super().__init__(name="starter", daemon=True)
        self._preload = preload_names
        self._on_started = on_started
        self._orders: queue.SimpleQueue[tuple[ActorSpec, bool]] = queue.SimpleQueue()
        self._cancelled = False

    def order(self, spec: ActorSpec, fresh_interpreter: bool) -> None:
        self._orders.put((spec, fresh_interpreter))

    def cancel(self) -> None:
        """Start nothing more."""
        self._cancelled = True

    def run(self) -> None:
        context = multiprocessing.get_context("forkserver")
        # where one was started early (`preload.warm`), these change nothing
        context.set_forkserver_preload(preload.MODULES)
        os.environ[preload.NAMES_VARIABLE] = " ".join(self._preload)
        while True:
            spec, fresh_interpreter = self._orders.get()
            started = Started(spec.name, spec.incarnation, None, "the run was stopped before")
            if not self._cancelled:
                try:
                    started.process = (
                        _start_fresh(spec) if fresh_interpreter else _fork(context, spec)
                    )
                except Exception as error:
                    traceback.print_exc()
                    started.error = f"its process could not be started: {error!r}"
            self._on_started(started)


def _fork(context: multiprocessing.context.ForkServerContext, spec: ActorSpec) -> Process:
    spec_bytes = msgspec.msgpack.encode(spec)
    process = context.Process(target=child.main, args=(spec_bytes,), name=spec.name)
    process.start()
    # Each start polls all children that are known, here on the starter's thread. The agent's loop
    # does so, too, and of two that read the same exit code one finds nothing, and makes up another.
    multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]
    assert process.pid is not None
    return Process(process.pid, process.sentinel, process)


def _start_fresh(spec: ActorSpec) -> Process:
    """GPU actors: CUDA does not survive a fork, and the mask must be set before it loads."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(spec.gpus)}
    environment.pop(preload.NAMES_VARIABLE, None)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _FRESH], stdin=subprocess.PIPE, env=environment
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended already: its exit says why
        process.stdin.write(msgspec.msgpack.encode(spec))
        process.stdin.close()
    return Process(process.pid, os.pidfd_open(process.pid), process)
