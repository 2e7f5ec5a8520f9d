"""The agent's only loop: it has actors started (`orders`), hands out shared memory, passes control
messages on, and tells the driver who has ended. It does no work, so that nothing keeps it waiting.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from actorrl.runtime import host_logs, inventory, strays
from actorrl.runtime.actors_line import ActorsLine, Word
from actorrl.runtime.agent_news import News
from actorrl.runtime.counts import USABLE_MEMORY
from actorrl.runtime.driver_line import DriverLine
from actorrl.runtime.memory_limits import OwnMemory
from actorrl.runtime.orders import Orders
from actorrl.runtime.relay import Relay
from actorrl.runtime.running import Running
from actorrl.runtime.vitals import Vitals
from actorrl.wire import sockets
from actorrl.wire.control_messages import (
    ActorExited,
    ActorHello,
    ActorReady,
    ActorSilent,
    AgentConfig,
    AgentHello,
    AgentStopped,
    Control,
    DumpStack,
    KillActor,
    Lifeline,
    Peers,
    RelayPlan,
    StartActor,
    StopAll,
)
from actorrl.wire.messages import PROTOCOL_VERSION
from actorrl.wire.shared_memory import MemoryServer
from actorrl.wire.slabs import has_end

_POLL_MS = 500
_ORPHAN_GRACE_S = 1.0  # what actors get when the driver is gone: all must have ended within 5 s
REAP_S = 2.0
_HELPER_DIED = "the agent's forkserver was killed, and nobody is told of the ends of its actors"


class Agent:
    def __init__(self, config: AgentConfig) -> None:
        self._config = config
        self._dir = Path(config.socket_dir)
        Path(config.log_dir).mkdir(parents=True, exist_ok=True)
        inventory.allow_descriptors()
        self._context = sockets.new_context()
        self._drops: collections.Counter[str] = collections.Counter()  # by reason
        self._line = DriverLine(config, self._context, self._drops)
        self._running: dict[str, Running] = {}
        self._actors = ActorsLine(
            self._context, f"ipc://{self._dir}/agent", self._running, self._drops
        )
        memory = str(self._dir / "memory")
        Path(memory).unlink(missing_ok=True)  # a predecessor's that was killed
        self._memory = MemoryServer(memory)
        self._vitals = Vitals(self._memory)
        usable = int(inventory.memory_bytes() * USABLE_MEMORY)
        self._own_memory = OwnMemory(config.memory_limit or usable)
        self._orders = Orders(config, self._actors.address, memory, self._vitals.beat_index)
        self._stop_at: float | None = None
        self._killed: list[str] = []
        self._poller = zmq.Poller()
        self.line_ends: list[int] = []  # to a driver on another host
        self._gpus = list(inventory.gpu_ids()) if config.driver_pid == 0 else []
        self._relay = Relay(config, memory, f"ipc://{self._dir}/relay") if config.tcp else None
        self._news = News(config, self._vitals, self._say, self._relay, self._drops)

    def run(self) -> None:
        self._say_hello()
        if self._config.driver_pid == 0:
            folder = Path(self._config.log_dir)
            self.line_ends = host_logs.write_own(folder, self._config.host)
            host_logs.remove_old(folder, time.time())
        own = (self._actors.socket, self._memory.fileno(), self._orders.fd)
        for source in (*own, *self._line.sources()):
            self._poller.register(source, zmq.POLLIN)
        self._orders.begin()
        if self._relay is not None:
            self._relay.start()
        while self._stop_at is None or self._running:
            for source, _ in self._poller.poll(self._patience_ms()):
                self._on_ready(source)
            self._look_after_actors()
            self._look_after_line()
            self._look_after_relay()
            self._own_memory.check(time.monotonic())
            self._news.tell(self._running.values())
            if self._stop_at is not None and time.monotonic() > self._stop_at:
                break
        self._leave()

    def _patience_ms(self) -> int:
        if self._stop_at is None:
            return _POLL_MS
        return max(0, min(_POLL_MS, int((self._stop_at - time.monotonic()) * 1000) + 1))

    def _on_ready(self, source: Any) -> None:
        if source is self._line.control:
            for message in self._line.heard():
                self._on_driver(message)
        elif source is self._line.beats:
            self._line.take_beats()
        elif source is self._actors.socket:
            self._take_from_actors(self._actors.heard())
        elif source == self._orders.fd:
            self._take_started()
        elif source == self._memory.fileno():
            connection = self._memory.accept()
            if connection is not None:
                self._poller.register(connection.fileno(), zmq.POLLIN)
        elif source == self._line.lifeline:
            if self._line.on_lifeline():
                self._poller.unregister(self._line.lifeline)
                if self._line.is_lost_with_lifeline:
                    self._stop(_ORPHAN_GRACE_S)
        elif (ended := self._by_sentinel(source)) is not None:
            self._on_exit(ended)
        elif source in self._poller and not self._memory.serve(source):  # else: let go just now
            self._poller.unregister(source)

    # ---- from the driver ----------------------------------------------------------------

    def _on_driver(self, message: Control) -> None:
        match message:
            case StartActor():
                if self._stop_at is None:
                    self._running[message.name] = self._orders.order(message)
            case KillActor(name, incarnation):
                running = self._running.get(name)
                if running is not None and running.incarnation == incarnation:
                    running.kill()
            case Peers():
                for running in self._running.values():
                    self._actors.tell(running, message)
            case DumpStack(name):
                running = self._running.get(name)
                if running is not None:
                    self._news.dump_stack(running)
            case RelayPlan() if self._relay is not None:
                self._relay.post(message)
            case Lifeline(pid):
                self._take_lifeline(pid)
            case StopAll(grace_s):
                self._stop(grace_s)

    def _take_lifeline(self, holder: int) -> None:
        old = self._line.lifeline
        if self._line.mend(holder):
            with contextlib.suppress(KeyError):  # it has ended, and is not looked at any more
                self._poller.unregister(old)
            self._poller.register(self._line.lifeline, zmq.POLLIN)

    def _take_started(self) -> None:
        for started in self._orders.started():
            running = self._running[started.name]
            if started.process is not None:
                running.process = started.process
                self._vitals.born(started.name, started.process.pid, running.memory_limit)
                self._poller.register(started.process.sentinel, zmq.POLLIN)
                if running.was_killed:  # before it was there
                    running.kill()
            else:
                del self._running[started.name]
                self._say(ActorExited(started.name, started.incarnation, 1, started.error))

    # ---- from the actors ----------------------------------------------------------------

    def _take_from_actors(self, heard: Iterator[tuple[Running, Word]]) -> None:
        for running, message in heard:
            if isinstance(message, ActorHello) and self._stop_at is not None:
                self._actors.tell(running, StopAll(0.0))
            if isinstance(message, ActorReady):
                self._vitals.ready(running.name, running.progress_limit_s)
            self._say(message)

    def _by_sentinel(self, source: int) -> Running | None:
        return next(
            (r for r in self._running.values() if r.process and r.process.sentinel == source), None
        )

    def _on_exit(self, running: Running) -> None:
        process = running.process
        code = process.exit_code() if process is not None else None
        if process is None or code is None:
            return
        self._take_from_actors(self._actors.last_words(running, code))
        said = _HELPER_DIED if process.outlives_its_end() else running.log_tail()
        self._poller.unregister(process.sentinel)
        del self._running[running.name]
        strays.kill_group(process.pid)  # what its environment may have started
        ended = f"{running.name}.{running.incarnation}"
        if self._stop_at is None:  # else all of the run is looked for at the end
            strays.kill_marked(self._config.run_id, ended)
        process.forget()
        self._memory.forget(lambda memory: has_end(memory, ended))
        for suffix in ("", "!"):
            (self._dir / f"{running.slot}{suffix}").unlink(missing_ok=True)
        self._say(
            ActorExited(
                running.name,
                running.incarnation,
                code,
                said,
                self._vitals.rss(running.name),
                code == -signal.SIGKILL and not running.was_killed and self._vitals.out_of_memory(),
                running.over_limit,
            )
        )
        self._vitals.ended(running.name)
        self._news.ended(running)

    def _look_after_actors(self) -> None:
        for silence in self._vitals.look():
            running = self._running.get(silence.slot)
            if running is None or self._stop_at is not None:
                continue
            self._say(
                ActorSilent(running.name, running.incarnation, silence.seconds, silence.at_limit)
            )
            if silence.at_limit:
                running.kill()
            else:
                running.dump_stack(f"no progress for {silence.seconds:.0f} s; its threads:")
        for name, held, limit in self._vitals.take_oversized():
            if not self._running[name].was_killed:
                self._running[name].over_limit = (held, limit)
                self._running[name].kill()

    # ---- the end ------------------------------------------------------------------------

    def _stop(self, grace_s: float) -> None:
        deadline = time.monotonic() + grace_s
        self._stop_at = deadline if self._stop_at is None else min(self._stop_at, deadline)
        self._orders.cancel()
        for running in self._running.values():
            self._actors.tell(running, StopAll(grace_s))

    def _leave(self) -> None:
        """Whoever is still there had its time; then the forkserver, and what an actor's environment
        may have started in another session."""
        self._killed += self._running
        if self._relay is not None:
            self._relay.end()
        unkillable = strays.kill_run(self._config.run_id, REAP_S, self._config.host)
        self._say(AgentStopped(self._killed, unkillable))
        self._memory.close()
        self._line.close()
        self._actors.close()
        self._context.term()

    def _say(self, message: Control) -> None:
        self._line.say(message)

    def _say_hello(self) -> None:
        config = self._config
        self._say(
            AgentHello(
                config.host,
                config.incarnation,
                os.getpid(),
                PROTOCOL_VERSION,
                inventory.num_cpus(),
                inventory.memory_bytes(),
                self._gpus,
                [(running.name, running.incarnation) for running in self._running.values()],
                self._relay.address if self._relay is not None else "",
                config.log_dir,
            )
        )

    def _look_after_relay(self) -> None:
        if self._relay is not None and self._relay.has_failed:
            raise RuntimeError("the relay has failed: this host would see no newer weights")

    def _look_after_line(self) -> None:
        if self._line.offences.is_cut_off():
            raise RuntimeError("the driver's words cannot be read: it is not heard any more")
        if self._line.is_new():
            self._say_hello()
        if self._line.tick() and self._stop_at is None:
            print("the driver is gone: neither its line nor its beats are there", file=sys.stderr)
            self._stop(_ORPHAN_GRACE_S)
