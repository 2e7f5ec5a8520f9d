"""A host's agent: starts its actors, watches them, and is the last to leave.

A process of its own, in a session of its own, so that a terminal's Ctrl-C reaches only the driver.
It does no work: it forks actors (through a forkserver that has only imported what the Program
names), hands out shared memory, passes control messages on, and tells the driver who has ended.
When the driver is gone it stops its actors, removes the run's sockets and leaves.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
import zmq

from actorrl.runtime import child
from actorrl.runtime.inventory import this_host
from actorrl.wire import sockets
from actorrl.wire.messages import (
    PROTOCOL_VERSION,
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
_REAP_S = 3.0
_FRESH = "from actorrl.runtime.child import main_from_stdin; main_from_stdin()"


def main() -> None:
    """Entry point; the configuration comes over standard input."""
    config = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=AgentConfig)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    agent = _Agent(config)
    try:
        agent.run()
    finally:
        agent.clean_up()
        os._exit(0)  # not multiprocessing's exit hook: it would join what may be stuck


@dataclass
class _Running:
    """One actor's process, however it was started."""

    name: str
    incarnation: int
    pid: int
    log_file: str
    handle: BaseProcess | subprocess.Popen[bytes]
    sentinel: int
    route: bytes | None = None  # of its control thread, once it has said hello

    def exit_code(self) -> int | None:
        if isinstance(self.handle, subprocess.Popen):
            return self.handle.poll()
        self.handle.join(0)
        return self.handle.exitcode


class _Agent:
    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._dir = Path(config.socket_dir)
        self._context = zmq.Context()
        self._driver = sockets.dealer(self._context, config.driver_address)
        self._address = f"ipc://{self._dir}/agent"
        self._actors = sockets.router(self._context, self._address)
        self._memory_address = str(self._dir / "memory")
        self._memory = MemoryServer(self._memory_address)
        self._running: dict[str, _Running] = {}
        self._table: Peers | None = None
        self._stop_at: float | None = None
        self._killed: list[str] = []
        self._spawner = multiprocessing.get_context("forkserver")
        self._spawner.set_forkserver_preload([child.__name__, *config.preload])
        self._poller = zmq.Poller()
        self._driver_pidfd = os.pidfd_open(config.driver_pid) if config.driver_parent else -1
        self._unkillable: list[int] = []

    def run(self) -> None:
        host = this_host(self._config.host)
        self._say(
            AgentHello(
                host.name, os.getpid(), PROTOCOL_VERSION, host.num_cpus, host.memory_bytes
            )
        )
        for source in (self._driver, self._actors, self._memory.fileno()):
            self._poller.register(source, zmq.POLLIN)
        if self._driver_pidfd >= 0:
            self._poller.register(self._driver_pidfd, zmq.POLLIN)
        while not (self._stop_at is not None and not self._running):
            for source, _ in self._poller.poll(self._patience_ms()):
                self._on_ready(source)
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                self._kill_all()
        self._say(AgentStopped(self._killed, self._unkillable))

    def _patience_ms(self) -> int:
        if self._stop_at is None:
            return _POLL_MS
        return max(0, min(_POLL_MS, int((self._stop_at - time.monotonic()) * 1000) + 1))

    def _on_ready(self, source: Any) -> None:
        if source is self._driver:
            self._take_from_driver()
        elif source is self._actors:
            self._take_from_actors()
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

    def _take_from_driver(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                self._on_driver(decode_control(self._driver.recv(zmq.NOBLOCK)))

    def _on_driver(self, message: Control) -> None:
        match message:
            case StartActor():
                if self._stop_at is None:
                    self._start(message)
            case KillActor(name, incarnation):
                running = self._running.get(name)
                if running is not None and running.incarnation == incarnation:
                    _kill_group(running.pid)
            case Peers():
                self._table = message
                for running in self._running.values():
                    self._tell(running, message)
            case DumpStack(name):
                if name in self._running:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self._running[name].pid, signal.SIGUSR1)
            case StopAll(grace_s):
                self._stop(grace_s)

    def _start(self, start: StartActor) -> None:
        slot = start.name.replace("/", "-")
        spec = ActorSpec(
            name=start.name,
            incarnation=start.incarnation,
            host=self._config.host,
            address=f"ipc://{self._dir}/{slot}.{start.incarnation}",
            agent_address=self._address,
            agent_pid=os.getpid(),
            memory_address=self._memory_address,
            log_file=str(Path(self._config.log_dir) / f"{slot}.log"),
            blob=start.blob,
            gpus=start.gpus,
        )
        spawn = self._spawn_fresh if start.fresh_interpreter else self._fork
        running = spawn(spec, msgspec.msgpack.encode(spec))
        self._running[start.name] = running
        self._poller.register(running.sentinel, zmq.POLLIN)

    def _fork(self, spec: ActorSpec, spec_bytes: bytes) -> _Running:
        process = self._spawner.Process(target=child.main, args=(spec_bytes,), name=spec.name)
        process.start()
        assert process.pid is not None
        return _Running(
            spec.name, spec.incarnation, process.pid, spec.log_file, process, process.sentinel
        )

    def _spawn_fresh(self, spec: ActorSpec, spec_bytes: bytes) -> _Running:
        """GPU actors: CUDA does not survive a fork, and the mask must be set before it loads."""
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ",".join(spec.gpus)}
        process = subprocess.Popen(
            [sys.executable, "-c", _FRESH], stdin=subprocess.PIPE, env=environment
        )
        assert process.stdin is not None
        process.stdin.write(spec_bytes)
        process.stdin.close()
        pidfd = os.pidfd_open(process.pid)
        return _Running(
            spec.name, spec.incarnation, process.pid, spec.log_file, process, pidfd
        )

    # ---- from the actors ----------------------------------------------------------------

    def _take_from_actors(self) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                route, frame = self._actors.recv_multipart(zmq.NOBLOCK)
                self._on_actor(route, decode_control(frame))

    def _on_actor(self, route: bytes, message: Control) -> None:
        if not isinstance(message, (ActorHello, ActorReady, ActorFailed)):
            return
        running = self._running.get(message.name)
        if running is None or running.incarnation != message.incarnation:
            return
        if isinstance(message, ActorHello):
            running.route = route
            if self._stop_at is not None:
                self._tell(running, StopAll(0.0))
        self._say(message)

    def _tell(self, running: _Running, message: Control) -> None:
        if running.route is not None:
            with contextlib.suppress(zmq.ZMQError):
                self._actors.send_multipart([running.route, encode_control(message)], zmq.NOBLOCK)

    def _by_sentinel(self, source: int) -> _Running | None:
        return next((r for r in self._running.values() if r.sentinel == source), None)

    def _on_exit(self, running: _Running) -> None:
        code = running.exit_code()
        if code is None:
            return
        self._poller.unregister(running.sentinel)
        del self._running[running.name]
        _signal_group(running.pid)  # what its environment may have started
        self._take_from_actors_of_the_dead()
        self._memory.forget(f"{running.name}.{running.incarnation}/")
        with contextlib.suppress(FileNotFoundError):
            for suffix in ("", "!"):
                slot = running.name.replace("/", "-")
                (self._dir / f"{slot}.{running.incarnation}{suffix}").unlink()
        tail = _tail(running.log_file)
        self._say(ActorExited(running.name, running.incarnation, code, tail))

    def _take_from_actors_of_the_dead(self) -> None:
        """Its last words, said before it ended, must not come after the notice of its end."""
        with contextlib.suppress(zmq.Again):
            while True:
                _, frame = self._actors.recv_multipart(zmq.NOBLOCK)
                message = decode_control(frame)
                if isinstance(message, (ActorHello, ActorReady, ActorFailed)):
                    self._say(message)

    # ---- the end ------------------------------------------------------------------------

    def _stop(self, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        self._stop_at = deadline if self._stop_at is None else min(self._stop_at, deadline)
        for running in self._running.values():
            self._tell(running, StopAll(grace_s))

    def _kill_all(self) -> None:
        for running in self._running.values():
            self._killed.append(running.name)
            _kill_group(running.pid)
        deadline = time.monotonic() + _REAP_S
        while self._running and time.monotonic() < deadline:
            for running in list(self._running.values()):
                self._on_exit(running)
            time.sleep(0.01)
        self._unkillable = [running.pid for running in self._running.values()]
        self._running.clear()

    def _say(self, message: Control) -> None:
        with contextlib.suppress(zmq.Again):
            self._driver.send(encode_control(message), zmq.NOBLOCK)

    def clean_up(self) -> None:
        """Kill what is left, remove the sockets; the driver may be gone already."""
        for running in self._running.values():
            _kill_group(running.pid)
        self._memory.close()
        self._driver.close(linger=500)
        self._actors.close(linger=0)
        self._context.term()
        shutil.rmtree(self._dir, ignore_errors=True)


def _kill_group(pid: int) -> None:
    """A live actor and what it started; itself, too, if it had no time to make its group."""
    _signal_group(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _signal_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _tail(path: str) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
