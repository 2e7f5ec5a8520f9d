"""The second thread of an actor's process: it talks to the agent and answers the control lane,
whatever the main thread is doing. Should it fail, the process ends: nobody could stop it any more.
"""

from __future__ import annotations

import collections
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable

import zmq

from actorrl.errors import WireError
from actorrl.runtime import strays
from actorrl.runtime.actor import Actor
from actorrl.runtime.answering import answer_call, run_tell
from actorrl.runtime.control_socket import received
from actorrl.wire.control_messages import (
    ActorEvent,
    ActorSpec,
    Control,
    Traffic,
    encode_control,
)
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.messages import Kind, Message
from actorrl.wire.offences import Offences

EXIT_CONTROL_FAILED = 70
_POLL_MS = 1000
_FINISH_S = 5.0
_EARLY_LIMIT = 1024  # control calls kept until the actor has started
_OUTGOING_LIMIT = 1024  # words kept while the agent takes none
_RETRY_MS = 50
_MAY_BE_LOST = (ActorEvent, Traffic)  # the rest, of a whole life, are three or four


class ControlThread(threading.Thread):
    """See the module. `on_message` is called on this thread with what the agent says."""

    def __init__(self, spec: ActorSpec, on_message: Callable[[Control], None]) -> None:
        super().__init__(name="control", daemon=True)
        self._spec = spec
        self._on_message = on_message
        self._outgoing: collections.deque[Control] = collections.deque()
        self._early: collections.deque[Message] = collections.deque()
        self._actor: Actor | None = None
        self._finished = False
        self._door: Endpoint | None = None
        self._talking = threading.Event()

    # ---- called by the main thread ------------------------------------------------------

    def tell(self, message: Control) -> None:
        """Send to the agent, now or once it takes something: it may be stopped. What nobody waits
        for is then dropped beyond a limit, and counted."""
        self._talking.wait()  # or the process ends
        assert self._door is not None
        if len(self._outgoing) >= _OUTGOING_LIMIT and isinstance(message, _MAY_BE_LOST):
            self._door.drops["word to the agent"] += 1
            return
        self._outgoing.append(message)
        self._wake()

    @property
    def drops(self) -> collections.Counter[str]:
        """By reason, what was dropped here; the thread goes on counting."""
        return collections.Counter() if self._door is None else self._door.drops

    def serve(self, actor: Actor) -> None:
        """From now on the actor can be asked; what came earlier is answered now."""
        self._actor = actor
        self._wake()

    def finish(self) -> None:
        """Send what is left, then end."""
        self._finished = True
        self._wake()
        self.join(timeout=_FINISH_S)

    def _wake(self) -> None:
        self._talking.wait()  # or the process ends
        assert self._door is not None
        self._door.wake()

    # ---- the thread ---------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._talk()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(EXIT_CONTROL_FAILED)

    def _talk(self) -> None:
        spec = self._spec
        self._door = door = Endpoint(spec.name, spec.incarnation, spec.address + "!")
        agent = door.dial(spec.agent_address)
        offences = Offences(door.drops, "from the agent")
        door.watch(agent, lambda: self._listen(agent, offences))
        door.watch(os.pidfd_open(spec.agent_pid), self._end_with_agent)
        self._talking.set()
        while not (self._finished and not self._outgoing):
            is_up_to_date = self._say_waiting(agent)
            patience_ms = _POLL_MS if not self._finished else 0
            for message in door.receive(patience_ms if is_up_to_date else _RETRY_MS):
                self._take(message, door)
            self._answer(door)
        agent.close()
        door.close()

    def _say_waiting(self, agent: zmq.Socket) -> bool:
        """Without waiting: whoever waits for an agent that is stopped does not see it end. Whether
        nothing is left."""
        while self._outgoing:
            try:
                agent.send(encode_control(self._outgoing[0]), zmq.NOBLOCK)
            except zmq.Again:
                return False
            self._outgoing.popleft()
        return True

    def _take(self, message: Message, door: Endpoint) -> None:
        if len(self._early) < _EARLY_LIMIT:
            self._early.append(message)
        else:
            door.drops["control call before the actor has started"] += 1

    def _answer(self, door: Endpoint) -> None:
        while self._actor is not None and self._early:
            message = self._early.popleft()
            if message.kind is Kind.CALL:
                answer_call(self._actor, message, "control", door)
            elif message.kind is Kind.TELL:
                run_tell(self._actor, message, "control", door)

    def _listen(self, agent: zmq.Socket, offences: Offences) -> None:
        for (message,) in received(agent, 1, offences):
            self._on_message(message)
        if offences.is_cut_off():
            raise WireError("the agent's words cannot be read")

    def _end_with_agent(self) -> None:
        """The agent is gone: so is the run. What this actor has started goes first, since nobody
        may be left who looks for it."""
        actor = f"{self._spec.name}.{self._spec.incarnation}"
        try:
            strays.kill_marked(os.environ.get(strays.RUN_ID_VARIABLE, ""), actor)
        finally:
            os.killpg(os.getpgid(0), signal.SIGKILL)
