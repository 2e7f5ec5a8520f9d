"""An actor's process, from its first instruction to its last.

Forked by the agent's forkserver, or started as a fresh interpreter when it uses a GPU. The main
thread is the mailbox; the control thread (`control`) talks to the agent, answers the control lane,
and ends the process when the agent is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec

from actorrl.errors import ActorRLError, EnvironmentFailure
from actorrl.runtime import strays
from actorrl.runtime.control import ControlThread
from actorrl.runtime.failure import Failure
from actorrl.runtime.mailbox import IDLE_MS, Mailbox
from actorrl.runtime.permissions import allowed, started_with, starters
from actorrl.runtime.progress import Beat
from actorrl.runtime.refs import set_process_caller
from actorrl.runtime.traffic import COUNTS_S, total
from actorrl.wire.blocks import Stamp
from actorrl.wire.control_messages import (
    ActorEvent,
    ActorFailed,
    ActorHello,
    ActorReady,
    ActorSpec,
    Control,
    Peers,
    StopAll,
    Traffic,
)
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.shared_memory import MemoryClient

EXIT_FAILED = 1  # it has said why, in an ActorFailed
_BEATS = 8  # of an idle actor, at least, within its limit of progress
_VISITS_S = 20.0
_VISITS_POLL_MS = 100
_PR_SET_PDEATHSIG = 1


def main(spec_bytes: bytes) -> None:
    """Entry point; never returns."""
    spec = msgspec.msgpack.decode(spec_bytes, type=ActorSpec)
    _become_own_group(spec)
    strays.mark_as(f"{spec.name}.{spec.incarnation}")
    _open_log(spec.log_file)
    # The agent decides who ends when. A terminal's Ctrl-C never reaches this group, but an
    # interactive shell's `kill -INT` might.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    code = EXIT_FAILED
    try:
        code = _Child(spec).run()
    except BaseException:  # of our own; the actor's are told to the agent
        traceback.print_exc()
    gc.collect()  # a semaphore of the actor's keeps its name in /dev/shm until it is finalised
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # no exit hooks: multiprocessing's would wait for the user's processes


def main_from_stdin() -> None:
    """Entry point of a fresh interpreter: the spec comes over standard input."""
    main(sys.stdin.buffer.read())


def _become_own_group(spec: ActorSpec) -> None:
    with contextlib.suppress(PermissionError):
        os.setpgid(0, 0)
    _die_with_parent(signal.SIGKILL)
    if not Path(f"/proc/{spec.agent_pid}").exists() and sys.platform == "linux":
        os._exit(EXIT_FAILED)


def _die_with_parent(signal_number: int) -> None:
    """The net until the control thread watches the agent; that one takes the group along."""
    with contextlib.suppress(OSError, AttributeError):  # Linux only
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)


def _open_log(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


class _Child:
    """The main thread of an actor's process, and what the control thread asks of it."""

    def __init__(self, spec: ActorSpec) -> None:
        self._spec = spec
        self._memory = MemoryClient(spec.memory_address)
        self._door = Endpoint(
            spec.name, spec.incarnation, spec.address, self._memory, spec.host, spec.tcp
        )
        self._mailbox: Mailbox | None = None
        self._may_go_on = threading.Event()  # the first table of peers came, or a stop
        self._stop_wanted = False
        self._told: tuple[dict[str, int], dict[str, int]] = {}, {}
        self._control = ControlThread(spec, self.on_control)

    def run(self) -> int:
        spec = self._spec
        self._control.start()
        self._control.tell(
            ActorHello(
                spec.name, spec.incarnation, os.getpid(), spec.address, self._door.tcp_address
            )
        )
        _die_with_parent(0)
        try:
            code = self._live()
        except BaseException as error:
            traceback.print_exc()
            self._control.tell(_failed(spec, error))
            code = EXIT_FAILED
        self._control.finish()
        self._door.close()
        set_process_caller(None)
        return code

    def _live(self) -> int:
        self._may_go_on.wait()
        if self._stop_wanted:
            return 0
        self._door.take_peers()  # the first table, before anything is sent
        mailbox = self._adopt()
        self._control.tell(ActorReady(self._spec.name, self._spec.incarnation))
        if self._stop_wanted:
            mailbox.stop()
        try:
            mailbox.run()
        finally:
            self._tell_counts()
        return 0

    def _adopt(self) -> Mailbox:
        spec = self._spec
        cls, args, kwargs, links = cloudpickle.loads(spec.blob)
        permitted = (spec.name, links, spec.callers)
        self._door.permit(allowed(*permitted), starters(*permitted))
        if spec.incarnation == 1:
            self._await_visitors(started_with(spec.name, links))
        beat = Beat(self._memory, spec.beat_index) if spec.beat_index >= 0 else lambda: None
        mailbox = Mailbox(
            spec.name,
            spec.incarnation,
            spec.host,
            self._door,
            links,
            gpus=spec.gpus,
            beat=beat,
            directory=str(Path(spec.memory_address).parent),
            idle_ms=max(1, int(min(IDLE_MS, spec.progress_limit_s * 1000 / _BEATS))),
        )
        mailbox.seen = {link: Stamp(*stamp) for link, stamp in spec.seen.items()}
        mailbox.on_event = self._tell_event
        mailbox.schedule(COUNTS_S, self._tell_counts)
        set_process_caller(mailbox.caller)
        mailbox.adopt(cls(*args, **kwargs))
        self._mailbox = mailbox
        assert mailbox.actor is not None
        self._control.serve(mailbox.actor)
        return mailbox

    def _await_visitors(self, names: frozenset[str]) -> None:
        """Of the first cast everybody is there before anybody acts, so that runs repeat; but not
        for ever, since a host may be lost meanwhile."""
        deadline = time.monotonic() + _VISITS_S
        while self._door.awaits(names) and time.monotonic() < deadline and not self._stop_wanted:
            self._door.receive(_VISITS_POLL_MS, answers_only=True)

    def _tell_event(self, event: str, details: dict[str, Any]) -> None:
        self._control.tell(ActorEvent(self._spec.name, self._spec.incarnation, event, details))

    def _tell_counts(self) -> None:
        """Where they have changed: of one host, and while nothing is dropped, never."""
        counts = self._door.metrics(), total(self._door.drops, self._control.drops)
        if counts != self._told:
            self._told = counts
            self._control.tell(Traffic(self._spec.name, self._spec.incarnation, *counts))

    def on_control(self, message: Control) -> None:
        """Called by the control thread."""
        match message:
            case Peers(table):
                self._door.post_peers(table)
                self._may_go_on.set()
            case StopAll():
                self._stop_wanted = True
                self._may_go_on.set()
                if self._mailbox is not None:
                    self._mailbox.stop()


def _failed(spec: ActorSpec, error: BaseException) -> ActorFailed:
    failure = Failure.of(error)
    return ActorFailed(
        spec.name,
        spec.incarnation,
        failure.type_name,
        failure.message,
        failure.traceback,
        error.user_traceback if isinstance(error, EnvironmentFailure) else "",
        fatal=isinstance(error, ActorRLError) and error.fatal,
    )
