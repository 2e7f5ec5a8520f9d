"""Versioned state between hosts: a thread of each agent, so that weights cross to a host once.

The agent of the writer's host answers `have=(V, epoch)` as soon as its own block has another
version; the agent of each other host asks, puts what comes into a block of the same name, and asks
again. To readers a mirrored block looks like the writer's own.

    learner -> block -> agent A  <== have V? ==  agent B -> block -> workers
    '--------- host A ---------'                '--------- host B ---------'

A mirror orders nothing: whom it asks is the writer's host, as the driver says, and what the writer
there has published is the newest, be its number lower than before. What that host itself has only
mirrored, while the writer was elsewhere, it does not pass on: that may be older.
"""

from __future__ import annotations

import collections
import threading
import time
import traceback
from typing import Any

from actorrl.errors import WireError
from actorrl.wire.blocks import BlockReader, BlockWriter, Stamp
from actorrl.wire.control_messages import AgentConfig, RelayPlan
from actorrl.wire.endpoint import Endpoint
from actorrl.wire.messages import Kind, Message
from actorrl.wire.shared_memory import MemoryClient

_WAITING_MS = 5  # how often a block is looked at while somebody waits for its next version
_IDLE_MS = 500
_ASK_AGAIN_S = 10.0  # an answer may have been lost
_RETRY_S = 1.0
_MAX_REFUSED = 6  # versions one after the other that could not be put into a block, of each link
_MAX_WAITING = 4096
_NOTHING = Stamp(0, 0)


class Relay(threading.Thread):
    """See the module. `post` and `end` are called by the agent's loop, which also has to look
    whether the thread `has_failed`: readers would wait for ever, and nobody would know why."""

    def __init__(self, config: AgentConfig, memory_address: str, address: str) -> None:
        super().__init__(name="relay", daemon=True)
        self._door = Endpoint(
            relay_name(config.host),
            config.incarnation,
            address,
            MemoryClient(memory_address),
            config.host,
            config.tcp,
        )
        self.address = self._door.tcp_address
        self.has_failed = False
        self._memory = MemoryClient(memory_address)
        self._plans: collections.deque[RelayPlan] = collections.deque()
        self._pulls: dict[str, str] = {}
        self._readers: dict[str, BlockReader] = {}
        self._writers: dict[str, BlockWriter] = {}
        self._have: dict[str, Stamp] = {}  # of whom is asked now
        self._mirrored: dict[str, Stamp] = {}  # the last that this thread has published
        self._asked: dict[str, float] = {}
        self._refused: collections.Counter[str] = collections.Counter()  # by link
        self._waiting: dict[tuple[str, str], Message] = {}  # by who asks and link
        self._ended = False
        self.metrics = self._door.metrics  # any thread
        self.drops = self._door.drops
        self._door.permit(lambda source, kind, name: kind is Kind.REQUEST)
        self._door.on_peers = self._on_lines

    def post(self, plan: RelayPlan) -> None:
        self._plans.append(plan)
        self._door.post_peers(plan.agents)

    def end(self) -> None:
        self._ended = True
        self._door.wake()
        self.join(timeout=2.0)

    # ---- the thread ---------------------------------------------------------------------

    def run(self) -> None:
        try:
            while not self._ended:
                self._try_turn()
            self._door.close()
            self._memory.close()
        except BaseException:
            traceback.print_exc()
            self.has_failed = True

    def _try_turn(self) -> None:
        try:
            self._turn()
        except (WireError, MemoryError):  # the memory server is busy ending, or full
            traceback.print_exc()
            time.sleep(_RETRY_S)

    def _turn(self) -> None:
        self._adopt_plans()
        for message in self._door.receive(_WAITING_MS if self._waiting else _IDLE_MS):
            if message.kind is Kind.REQUEST:
                self._note_request(message)
            elif message.kind is Kind.RESPONSE:
                self._publish(message)
        self._answer_all()
        self._ask_all()

    def _note_request(self, message: Message) -> None:
        key = (message.source, message.name)
        if len(self._waiting) < _MAX_WAITING or key in self._waiting:
            self._waiting[key] = message
        else:
            self._door.drops["request for a state beyond the limit"] += 1

    def _adopt_plans(self) -> None:
        while self._plans:
            plan = self._plans.popleft()
            for link, agent in self._pulls.items():
                if plan.pulls.get(link) != agent:
                    self._asked.pop(link, None)
                    self._have.pop(link, None)
            self._pulls = dict(plan.pulls)

    def _on_lines(self, agents: list[str]) -> None:
        """A connection was lost, or an agent is another: what was asked of it is lost."""
        for link, agent in self._pulls.items():
            if agent in agents:
                self._asked.pop(link, None)

    def _answer_all(self) -> None:
        for key, message in list(self._waiting.items()):
            reader = self._readers.setdefault(
                message.name, BlockReader(self._memory, f"state/{message.name}")
            )
            if reader.stamp in (_NOTHING, self._mirrored.get(message.name), _stamp(message.body)):
                continue
            del self._waiting[key]
            stamp, arrays = reader.read_stamped()
            self._door.answer(message, Message(Kind.RESPONSE, message.name, list(stamp), arrays))

    def _ask_all(self) -> None:
        now = time.monotonic()
        for link, agent in self._pulls.items():
            if now - self._asked.get(link, float("-inf")) < _ASK_AGAIN_S:
                continue
            have = self._have.get(link, _NOTHING)
            if self._door.send(agent, Message(Kind.REQUEST, link, list(have))):
                self._asked[link] = now

    def _publish(self, message: Message) -> None:
        self._adopt_plans()  # the link's new writer may be of this very host
        link, stamp = message.name, _stamp(message.body)
        if stamp is None or self._pulls.get(link) != message.source:
            return
        if link not in self._writers:
            self._writers[link] = BlockWriter(self._memory, f"state/{link}")
        try:
            self._writers[link].publish(stamp.version, message.arrays, stamp.epoch)
        except (WireError, MemoryError) as error:
            self._refused[link] += 1
            if self._refused[link] < _MAX_REFUSED:
                raise
            # whoever reads it here would wait for ever
            raise RuntimeError(f"state {link!r} cannot be shared on this host: {error}") from error
        del self._refused[link]
        self._have[link] = self._mirrored[link] = stamp
        self._asked.pop(link, None)


def _stamp(body: Any) -> Stamp | None:
    """None for what another agent would not say."""
    is_stamp = isinstance(body, list) and len(body) == 2 and all(type(n) is int for n in body)
    return Stamp(*body) if is_stamp else None


def relay_name(host: str) -> str:
    return f"agent/{host}"
