"""A host's agent: starts its actors, watches them, and is the last to leave.

A process of its own, in a session of its own, so that a terminal's Ctrl-C reaches only the driver.
It does no work: it has actors started (`starter`), hands out shared memory, passes control messages
on, and tells the driver who has ended. When the driver is gone it stops its actors, removes the
run's sockets and leaves.
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import zmq

from actorrl.errors import WireError
from actorrl.runtime import child, inventory, strays
from actorrl.runtime.starter import Process, Started, Starter
from actorrl.wire import sockets
from actorrl.wire.messages import (
    PROTOCOL_VERSION,
    ActorEvent,
    ActorExited,
    ActorFailed,
    ActorHello,
    ActorReady,
    ActorSpec,
    AgentConfig,
    AgentHello,
    AgentStopped,
    Control,
    DumpStack,
    KillActor,
    Peers,
    StartActor,
    StopAll,
    decode_control,
    encode_control,
)
from actorrl.wire.shared_memory import MemoryServer

_POLL_MS = 500
_LOG_TAIL_BYTES = 4000
_ORPHAN_GRACE_S = 1.0  # what actors get when the driver is gone: all must have ended within 5 s
_REAP_S = 2.0
_LAST_WORDS_S = 0.2


def main() -> None:
    """Entry point; the configuration comes over standard input."""
    config = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=AgentConfig)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = 1
    try:
        agent = _Agent(config)
        agent.run()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        strays.kill_run(config.run_id, _REAP_S)  # the forkserver, too
        shutil.rmtree(config.socket_dir, ignore_errors=True)
        sys.stderr.flush()
        os._exit(code)  # not multiprocessing's exit hook: it would join what may be stuck


@dataclass
class _Running:
    """One actor, from the order to start it to its end."""

    name: str
    incarnation: int
    log_file: str
    log_start: int  # what lies before in the log is its predecessors'
    process: Process | None = None  # until the starter has started it
    route: bytes | None = None  # of its control thread, once it has said hello
    has_failed: bool = False  # it has said why it is about to end

    @property
    def slot(self) -> str:
        return f"{self.name.replace('/', '-')}.{self.incarnation}"


class _Agent:
    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._dir = Path(config.socket_dir)
        # multiprocessing keeps the forkserver's socket in a temporary directory that it removes in
        # an exit hook; this one is removed whoever is killed.
        tempfile.tempdir = config.socket_dir
        inventory.allow_descriptors()
        self._context = sockets.new_context()
        self._driver = sockets.dealer(self._context, config.driver_address)
        self._address = f"ipc://{self._dir}/agent"
        self._actors = sockets.router(self._context, self._address)
        self._memory_address = str(self._dir / "memory")
        self._memory = MemoryServer(self._memory_address)
        self._running: dict[str, _Running] = {}
        self._started: collections.deque[Started] = collections.deque()
        self._started_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._starter = Starter(config.preload, self._on_started)
        self._stop_at: float | None = None
        self._killed: list[str] = []
        self._poller = zmq.Poller()
        self._driver_pidfd = _watch_parent(config.driver_pid) if config.driver_parent else -1

    def run(self) -> None:
        self._say(
            AgentHello(
                self._config.host,
                os.getpid(),
                PROTOCOL_VERSION,
                inventory.num_cpus(),
                inventory.memory_bytes(),
            )
        )
        for source in (self._driver, self._actors, self._memory.fileno(), self._started_fd):
            self._poller.register(source, zmq.POLLIN)
        if self._driver_pidfd >= 0:
            self._poller.register(self._driver_pidfd, zmq.POLLIN)
        self._starter.start()
        while self._stop_at is None or self._running:
            for source, _ in self._poller.poll(self._patience_ms()):
                self._on_ready(source)
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                break
        self._leave()

    def _patience_ms(self) -> int:
        if self._stop_at is None:
            return _POLL_MS
        return max(0, min(_POLL_MS, int((self._stop_at - time.monotonic()) * 1000) + 1))

    def _on_ready(self, source: Any) -> None:
        if source is self._driver:
            for (message,) in _received(self._driver, num_frames=1):
                self._on_driver(message)
        elif source is self._actors:
            self._take_from_actors()
        elif source == self._started_fd:
            self._take_started()
        elif source == self._memory.fileno():
            connection = self._memory.accept()
            if connection is not None:
                self._poller.register(connection.fileno(), zmq.POLLIN)
        elif source == self._driver_pidfd:
            self._poller.unregister(self._driver_pidfd)
            self._stop(_ORPHAN_GRACE_S)
        elif (ended := self._by_sentinel(source)) is not None:
            self._on_exit(ended)
        elif not self._memory.serve(source):
            self._poller.unregister(source)

    # ---- from the driver ----------------------------------------------------------------

    def _on_driver(self, message: Control) -> None:
        match message:
            case StartActor():
                if self._stop_at is None:
                    self._order(message)
            case KillActor(name, incarnation):
                running = self._running.get(name)
                if running is not None and running.incarnation == incarnation:
                    _kill(running)
            case Peers():
                for running in self._running.values():
                    self._tell(running, message)
            case DumpStack(name):
                running = self._running.get(name)
                if running is not None and running.process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(running.process.pid, signal.SIGUSR1)
            case StopAll(grace_s):
                self._stop(grace_s)

    def _order(self, start: StartActor) -> None:
        log_file = Path(self._config.log_dir) / f"{start.name.replace('/', '-')}.log"
        log_start = log_file.stat().st_size if log_file.exists() else 0
        running = _Running(start.name, start.incarnation, str(log_file), log_start)
        self._running[start.name] = running
        spec = ActorSpec(
            name=start.name,
            incarnation=start.incarnation,
            host=self._config.host,
            address=f"ipc://{self._dir}/{running.slot}",
            agent_address=self._address,
            agent_pid=os.getpid(),
            memory_address=self._memory_address,
            log_file=str(log_file),
            blob=start.blob,
            gpus=start.gpus,
        )
        self._starter.order(spec, start.fresh_interpreter)

    # ---- from the starter ---------------------------------------------------------------

    def _on_started(self, started: Started) -> None:
        """Called on the starter's thread."""
        self._started.append(started)
        os.eventfd_write(self._started_fd, 1)

    def _take_started(self) -> None:
        os.eventfd_read(self._started_fd)
        while self._started:
            started = self._started.popleft()
            running = self._running[started.name]
            if started.process is not None:
                running.process = started.process
                self._poller.register(started.process.sentinel, zmq.POLLIN)
            else:
                del self._running[started.name]
                self._say(ActorExited(started.name, started.incarnation, 1, started.error))

    # ---- from the actors ----------------------------------------------------------------

    def _take_from_actors(self) -> None:
        for route, message in _received(self._actors, num_frames=2):
            if not isinstance(message, (ActorHello, ActorReady, ActorFailed, ActorEvent)):
                continue
            running = self._running.get(message.name)
            if running is None or running.incarnation != message.incarnation:
                continue
            if isinstance(message, ActorHello):
                running.route = route
                if self._stop_at is not None:
                    self._tell(running, StopAll(0.0))
            running.has_failed |= isinstance(message, ActorFailed)
            self._say(message)

    def _tell(self, running: _Running, message: Control) -> None:
        if running.route is not None:
            with contextlib.suppress(zmq.ZMQError):
                self._actors.send_multipart([running.route, encode_control(message)], zmq.NOBLOCK)

    def _by_sentinel(self, source: int) -> _Running | None:
        return next(
            (r for r in self._running.values() if r.process and r.process.sentinel == source), None
        )

    def _on_exit(self, running: _Running) -> None:
        process = running.process
        code = process.exit_code() if process is not None else None
        if process is None or code is None:
            return
        self._hear_last_words(running, code)
        self._poller.unregister(process.sentinel)
        del self._running[running.name]
        strays.kill_group(process.pid)  # what its environment may have started
        process.forget()
        self._memory.forget(f"{running.name}.{running.incarnation}")
        for suffix in ("", "!"):
            (self._dir / f"{running.slot}{suffix}").unlink(missing_ok=True)
        self._say(ActorExited(running.name, running.incarnation, code, _tail(running)))

    def _hear_last_words(self, running: _Running, code: int) -> None:
        """They come before the notice of its end, and may still be on their way."""
        self._take_from_actors()
        deadline = time.monotonic() + _LAST_WORDS_S
        while code == child.EXIT_FAILED and not running.has_failed:
            if time.monotonic() > deadline or not self._actors.poll(int(_LAST_WORDS_S * 1000)):
                return
            self._take_from_actors()

    # ---- the end ------------------------------------------------------------------------

    def _stop(self, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        self._stop_at = deadline if self._stop_at is None else min(self._stop_at, deadline)
        self._starter.cancel()
        for running in self._running.values():
            self._tell(running, StopAll(grace_s))

    def _leave(self) -> None:
        """Whoever is still there had its time; then the forkserver, and what an actor's environment
        may have started in another session."""
        self._killed += self._running
        unkillable = strays.kill_run(self._config.run_id, _REAP_S)
        self._say(AgentStopped(self._killed, unkillable))
        self._memory.close()
        self._driver.close(linger=500)
        self._actors.close(linger=0)
        self._context.term()

    def _say(self, message: Control) -> None:
        with contextlib.suppress(zmq.Again):
            self._driver.send(encode_control(message), zmq.NOBLOCK)


def _watch_parent(driver_pid: int) -> int:
    """A descriptor that can be read when the driver has ended. Raises RuntimeError if it has."""
    pidfd = os.pidfd_open(driver_pid)
    if os.getppid() != driver_pid:  # it ended before, and the number may be another's
        raise RuntimeError("the driver has ended before its agent was up")
    return pidfd


def _received(socket: zmq.Socket, num_frames: int) -> Iterator[list[Any]]:
    """All messages that wait in a socket, the last frame of each decoded."""
    while True:
        try:
            *routes, frame = socket.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        try:
            if len(routes) + 1 == num_frames:
                yield [*routes, decode_control(frame)]
        except WireError:
            traceback.print_exc()


def _kill(running: _Running) -> None:
    if running.process is not None:
        strays.kill_group(running.process.pid)


def _tail(running: _Running) -> str:
    """The end of what this incarnation wrote into its log."""
    try:
        with open(running.log_file, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(running.log_start, size - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
