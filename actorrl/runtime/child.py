"""An actor's process, from its first instruction to its last.

Forked by the agent's forkserver, or started as a fresh interpreter when it uses a GPU. The main
thread is the mailbox; the control thread talks to the agent, answers the control lane, and ends the
process when the agent is gone.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import zmq

from actorrl.errors import EnvironmentFailure
from actorrl.runtime.mailbox import Mailbox, answer_call
from actorrl.runtime.refs import set_process_caller
from actorrl.wire import sockets
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.messages import (
    ActorFailed,
    ActorHello,
    ActorReady,
    ActorSpec,
    Control,
    DumpStack,
    Kind,
    Peers,
    StopAll,
    decode_control,
    encode_control,
)
from actorrl.wire.shared_memory import MemoryClient

_PR_SET_PDEATHSIG = 1
_PEERS_TIMEOUT_S = 60.0
_CONTROL_POLL_MS = 1000


def main(spec_bytes: bytes) -> None:
    """Entry point; never returns."""
    spec = msgspec.msgpack.decode(spec_bytes, type=ActorSpec)
    _become_own_group(spec)
    _open_log(spec.log_file)
    # The agent decides who ends when. A terminal's Ctrl-C never reaches this group, but an
    # interactive shell's `kill -INT` might.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    code = _Child(spec).run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # no exit hooks: multiprocessing's would wait for the user's processes


def main_from_stdin() -> None:
    """Entry point of a fresh interpreter: the spec comes over standard input."""
    main(sys.stdin.buffer.read())


def _become_own_group(spec: ActorSpec) -> None:
    with contextlib.suppress(PermissionError):
        os.setpgid(0, 0)
    with contextlib.suppress(OSError, AttributeError):  # Linux only; the second net, see control
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if not Path(f"/proc/{spec.agent_pid}").exists() and sys.platform == "linux":
        os._exit(1)


def _open_log(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
    sys.stdout = open(1, "w", buffering=1, closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)


class _Child:
    """The two threads of an actor's process."""

    def __init__(self, spec: ActorSpec) -> None:
        self._spec = spec
        self._peers_seen = threading.Event()
        memory = MemoryClient(spec.memory_address)
        self._door = Endpoint(spec.name, spec.incarnation, spec.address, memory)
        self._mailbox: Mailbox | None = None
        self._stop_wanted = False
        self._control = _ControlThread(spec, self)

    def run(self) -> int:
        self._control.start()
        spec = self._spec
        self._control.tell(ActorHello(spec.name, spec.incarnation, os.getpid(), spec.address))
        try:
            self._live()
            code = 0
        except BaseException as error:
            traceback.print_exc()
            self._control.tell(_failed(spec, error))
            code = 1
        self._control.finish()
        self._door.close()
        return code

    def _live(self) -> None:
        spec = self._spec
        if not self._peers_seen.wait(_PEERS_TIMEOUT_S):
            raise TimeoutError(f"no table of peers within {_PEERS_TIMEOUT_S:g} s")
        self._door.receive(0)  # take the first table before anything is sent
        cls, args, kwargs, links = cloudpickle.loads(spec.blob)
        mailbox = Mailbox(
            spec.name, spec.incarnation, spec.host, self._door, links, gpus=spec.gpus
        )
        set_process_caller(mailbox.caller)
        mailbox.adopt(cls(*args, **kwargs))
        self._mailbox = mailbox
        self._control.tell(ActorReady(spec.name, spec.incarnation))
        if not self._stop_wanted:
            mailbox.run()

    # ---- called by the control thread ---------------------------------------------------

    def on_control(self, message: Control) -> None:
        match message:
            case Peers(table):
                self._door.post_peers(table)
                self._peers_seen.set()
            case StopAll():
                self._stop_wanted = True
                if self._mailbox is not None:
                    self._mailbox.stop()
            case DumpStack():
                faulthandler.dump_traceback(all_threads=True)

    def answer_control_lane(self, door: Endpoint, message: Any) -> None:
        mailbox = self._mailbox
        if message.kind is Kind.CALL and mailbox is not None and mailbox.actor is not None:
            answer_call(mailbox.actor, message, "control", door)


class _ControlThread(threading.Thread):
    """Talks to the agent and answers the control lane, whatever the main thread is doing."""

    def __init__(self, spec: ActorSpec, child: _Child) -> None:
        super().__init__(name="control", daemon=True)
        self._spec = spec
        self._child = child
        self._outgoing: collections.deque[Control] = collections.deque()
        self._finished = False
        self._door: Endpoint | None = None
        self._talking = threading.Event()

    def tell(self, message: Control) -> None:
        """Send to the agent; any thread."""
        self._talking.wait()
        self._outgoing.append(message)
        assert self._door is not None
        self._door.wake()

    def finish(self) -> None:
        """Send what is left, then end; the main thread waits for it."""
        self._finished = True
        assert self._door is not None
        self._door.wake()
        self.join(timeout=5.0)

    def run(self) -> None:
        spec = self._spec
        self._door = door = Endpoint(spec.name, spec.incarnation, spec.address + "!")
        context = zmq.Context()
        agent = sockets.dealer(context, spec.agent_address)
        door.watch(agent, lambda: self._take(agent))
        agent_pidfd = os.pidfd_open(spec.agent_pid)
        door.watch(agent_pidfd, _end_with_agent)
        self._talking.set()
        while not (self._finished and not self._outgoing):
            while self._outgoing:
                agent.send(encode_control(self._outgoing.popleft()))
            for message in door.receive(0 if self._finished else _CONTROL_POLL_MS):
                self._child.answer_control_lane(door, message)
        agent.close()
        context.term()
        door.close()

    def _take(self, agent: zmq.Socket) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                self._child.on_control(decode_control(agent.recv(zmq.NOBLOCK)))


def _end_with_agent() -> None:
    """The agent is gone: so is the run. Own subprocesses go with the group."""
    os.killpg(os.getpgid(0), signal.SIGKILL)


def _failed(spec: ActorSpec, error: BaseException) -> ActorFailed:
    user_traceback = error.user_traceback if isinstance(error, EnvironmentFailure) else ""
    return ActorFailed(
        spec.name,
        spec.incarnation,
        type(error).__name__,
        str(error),
        "".join(traceback.format_exception(error)),
        user_traceback,
        fatal=isinstance(error, EnvironmentFailure),
    )
