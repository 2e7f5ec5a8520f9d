"""What an agent tells its driver now and then: what its actors use, what those of another host
write, what it passes on to other hosts, and stacks that somebody has asked for."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Collection
from pathlib import Path

from actorrl.runtime import host_logs
from actorrl.runtime.log_forwarder import LogForwarder
from actorrl.runtime.relay import Relay, relay_name
from actorrl.runtime.running import Running
from actorrl.runtime.traffic import total
from actorrl.runtime.vitals import Vitals
from actorrl.wire.control_messages import AgentConfig, Control, Health, LogLines, Stack, Traffic

_DUMP_S = 0.4  # until a stack is in the log
_HEALTH_S = 2.0


class News:
    """The agent's loop calls it in every round."""

    def __init__(
        self,
        config: AgentConfig,
        vitals: Vitals,
        say: Callable[[Control], None],
        relay: Relay | None,
        drops: collections.Counter[str],
    ) -> None:
        self._config = config
        self._vitals = vitals
        self._say = say
        self._relay = relay
        self._drops = drops
        self._logs = LogForwarder() if config.driver_pid == 0 else None
        self._dumps: list[tuple[float, Running, int]] = []
        self._next_health = 0.0
        self._next_touch = 0.0
        self._told: tuple[dict[str, int], dict[str, int]] = {}, {}

    def dump_stack(self, running: Running) -> None:
        """Its stack is told once it is in its log."""
        start = running.dump_stack("its threads, as somebody wants to know:")
        self._dumps.append((time.monotonic() + _DUMP_S, running, start))

    def tell(self, actors: Collection[Running]) -> None:
        now = time.monotonic()
        for dump in [dump for dump in self._dumps if dump[0] <= now]:
            self._dumps.remove(dump)
            self._say(Stack(dump[1].name, dump[1].log_from(dump[2])))
        if now >= self._next_health:
            self._next_health = now + _HEALTH_S
            self._say(Health(self._vitals.health(), self._drops["malformed"]))
            self._tell_counts()
            for running in actors:
                running.trim_log()
        if self._logs is not None:
            if now >= self._next_touch:
                self._next_touch = now + host_logs.TOUCH_S
                host_logs.touch(Path(self._config.log_dir), time.time())
            for name, text, left_out in self._logs.look(actors):
                self._say(LogLines(name, text, left_out))

    def _tell_counts(self) -> None:
        """Of the agent itself, where they have changed."""
        counts: tuple[dict[str, int], dict[str, int]] = {}, total(self._drops)
        if self._relay is not None:
            counts = self._relay.metrics(), total(self._drops, self._relay.drops)
        if counts != self._told:
            self._told = counts
            name, incarnation = relay_name(self._config.host), self._config.incarnation
            self._say(Traffic(name, incarnation, *counts))

    def ended(self, running: Running) -> None:
        """The rest of what it has written."""
        if self._logs is not None:
            for name, text, left_out in self._logs.end(running):
                self._say(LogLines(name, text, left_out))
