"""The hosts of a run at work: which are started and lost, and who goes to which of them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import zmq

from actorrl.errors import HostError, PlacementError, RunFailed
from actorrl.runtime import strays
from actorrl.runtime.cast import Cast
from actorrl.runtime.chronicle import Chronicle
from actorrl.runtime.fleet import Fleet
from actorrl.runtime.host_specs import LOCAL
from actorrl.runtime.host_states import (
    HostChanged,
    HostCommand,
    HostSlot,
    HostState,
    LoseHost,
    StartHost,
)
from actorrl.runtime.launch import AgentProcess, Connected
from actorrl.runtime.lifelines import Lifelines, Mended
from actorrl.runtime.placement import Host, place
from actorrl.runtime.program import Program
from actorrl.wire.control_messages import AgentHello, Beat, Lifeline, StopAll

_LOCAL_STARTS = 2  # of its agent: once more where it was killed before it was up


def _has_failed(host: HostSlot) -> bool:
    """Before it was ever up."""
    starts = _LOCAL_STARTS if host.is_local else 1
    return not host.was_up and len(host.losses) >= starts


class Housing:
    """Does what the table of hosts says. The service thread's, but for `begin`."""

    def __init__(
        self,
        program: Program,
        run_id: str,
        fleet: Fleet,
        cast: Cast,
        chronicle: Chronicle,
        poller: zmq.Poller,
    ) -> None:
        self._program = program
        self._run_id = run_id
        self._fleet = fleet
        self._cast = cast
        self._chronicle = chronicle
        self._poller = poller
        self._lifelines: dict[int, str] = {}
        self._is_placed = False
        self._first_errors: dict[str, HostError] = {}
        self._begun = False
        self._mender = Lifelines(self._is_current, self._on_mended)
        self._holders: dict[str, int] = {}  # host -> process there that is its lifeline now
        self.notices: list[str] = []
        fleet.on_launched = self._on_launched

    def begin(self) -> None:
        """The user's thread: raises OSError where the own host's agent cannot be started, and
        PlacementError before, where it alone is to carry all."""
        if not self._fleet.several:  # nobody has to be reached before it is known
            place(self._program, self._fleet.found([LOCAL]), self._fleet.spec.roles)
        self._obey(self._fleet.table.tick(time.monotonic()))
        self._begun = True

    def look(self) -> None:
        """What time brings."""
        self._obey(self._fleet.table.tick(time.monotonic()))
        if not self._cast.stopping and self._chronicle.failure is None:
            self._place_homeless()

    def on_beat(self, beat: Beat) -> None:
        self._fleet.heard_beat(beat)
        self._obey(self._fleet.table.beat(beat.host, beat.incarnation, time.monotonic()))

    def on_hello(self, host: str, hello: AgentHello) -> None:
        now = time.monotonic()
        is_new = self._fleet.table.hello(host, hello.incarnation, now)
        self._fleet.heard_hello(host, hello)
        if self._cast.stopping:
            self._fleet.say(host, StopAll(0.0))
        elif is_new:
            # what was lost with it stays where it is now; what is placed from now on may come here
            is_back = self._fleet.table.hosts[host].times_lost > 0
            kind = "host_rejoined" if is_back else "host_up"
            self._chronicle.event(kind, host=host, pid=hello.pid, incarnation=hello.incarnation)
        else:
            self._cast.reconcile(host, hello, now)
            if host in self._holders:
                self._fleet.say(host, Lifeline(self._holders[host]))
        self._cast.announce()

    def _on_launched(self, host: str, incarnation: int, error: HostError | None) -> None:
        now = time.monotonic()
        if error is not None:
            self._first_errors.setdefault(host, error)
            self._obey(self._fleet.table.ended(host, incarnation, str(error), now))
            return
        self._fleet.table.launched(host, incarnation, now)
        agent = self._fleet.agents[host]
        assert agent.process is not None
        self._watch(host, agent.process)
        self._chronicle.event("host_started", host=host, pid=agent.process.pid)
        if self._cast.stopping:
            agent.process.kill()

    def is_lifeline(self, source: Any) -> bool:
        return source in self._lifelines

    def watches(self, host: str) -> bool:
        """Whether its lifeline is still to be read."""
        return host in self._lifelines.values()

    def on_lifeline(self, fd: int, hear: Callable[[], None]) -> None:
        """An agent, or the connection to it, has ended; `hear` takes its last words."""
        host = self._lifelines.pop(fd)
        self._poller.unregister(fd)
        hear()
        reason = self._fleet.ended(host)
        agent = self._fleet.agents[host]
        self._holders.pop(host, None)
        if reason is None:
            self._chronicle.event("host_lifeline_broken", host=host)
            if isinstance(agent.process, Connected) and not self._cast.stopping:
                self._mender.mend(agent.process)
        else:
            agent.over = True
            ended = self._fleet.table.ended(host, agent.incarnation, reason, time.monotonic())
            self._obey([] if self._cast.stopping else ended)

    def _is_current(self, process: Connected) -> bool:
        """Any thread."""
        return any(agent.process is process for agent in list(self._fleet.agents.values()))

    def _on_mended(self, process: Connected, mended: Mended) -> None:
        """On another thread."""
        self._fleet.post(functools.partial(self._take_mended, process, mended))

    def _take_mended(self, process: Connected, mended: Mended) -> None:
        for host, agent in self._fleet.agents.items():
            if agent.process is not None and agent.process is process:
                self._watch(host, agent.process)
                self._holders[host] = mended.holder
                self._fleet.say(host, Lifeline(mended.holder))
                seconds = round(mended.seconds, 3)
                self._chronicle.event(
                    "host_lifeline_restored", host=host, attempts=mended.attempts, seconds=seconds
                )

    def _watch(self, host: str, process: AgentProcess) -> None:
        fd = process.fileno()
        self._lifelines[fd] = host
        self._poller.register(fd, zmq.POLLIN)

    def close(self) -> None:
        """Open no lifeline any more. Any thread."""
        self._mender.close()

    def _obey(self, commands: list[HostCommand]) -> None:
        for command in commands:
            match command:
                case StartHost(name, incarnation):
                    self._start_host(name, incarnation)
                case LoseHost():
                    self._lose_host(command)
                case HostChanged(name, state):
                    kind = "host_suspect" if state is HostState.SUSPECT else "host_recovered"
                    self._chronicle.event(kind, host=name)

    def _start_host(self, name: str, incarnation: int) -> None:
        try:
            self._fleet.start(name, incarnation)
        except OSError as error:
            if not self._begun:
                raise  # to the user's thread
            self._on_launched(name, incarnation, HostError(f"{name}: {error}"))

    def _lose_host(self, lost: LoseHost) -> None:
        for fd in [fd for fd, name in self._lifelines.items() if name == lost.name]:
            del self._lifelines[fd]
            self._poller.unregister(fd)
        self._holders.pop(lost.name, None)
        self._fleet.fence(lost.name)
        if lost.name == LOCAL:  # they end by themselves; what they have started may not
            strays.kill_run(self._run_id, 0.0, LOCAL)
        slots = self._cast.supervisor.slots.values()
        there = {slot.name for slot in slots if slot.host == lost.name}
        self._chronicle.event(
            "host_lost",
            host=lost.name,
            reason=lost.reason.splitlines()[0],
            elements_at_most=self._program.in_flight_at_most(there),  # the ledgers are lost as well
        )
        self._cast.places = {s: at for s, at in self._cast.places.items() if at.host != lost.name}
        self._cast.obey(self._cast.supervisor.host_lost(lost.name, time.monotonic()))
        self._chronicle.notify()

    # ---- who goes where -----------------------------------------------------------------

    def _place_homeless(self) -> None:
        homeless = self._cast.supervisor.homeless()
        if not homeless or (not self._is_placed and not self._all_came()):
            return
        hosts = self._fleet.found(
            [host for host in self._fleet.table.up() if self._is_listed(host)]
        )
        awaited = [host for host in self._fleet.table.awaited() if self._is_listed(host)]
        minimum = self._fleet.spec.failure.min_hosts
        try:
            if len(hosts) < minimum:
                raise HostError(self._too_few(len(hosts), minimum))
            self._place(hosts)
        except (HostError, PlacementError) as error:
            if not (self._is_placed and awaited):
                self._chronicle.give_up(RunFailed(str(error)) if self._is_placed else error)
                self._cast.obey(self._cast.supervisor.give_up(homeless[0], str(error)))

    def _is_listed(self, host: str) -> bool:
        return any(host == each.name for each in self._fleet.spec.hosts)

    def _all_came(self) -> bool:
        """Whether each host is up or has failed; a required one that failed ends the run."""
        hosts = self._fleet.table.hosts.values()
        failed = [host for host in hosts if _has_failed(host)]
        if any(self._fleet.agents[host.name].spec.required for host in failed):
            errors = [self._first_error(host) for host in failed]
            self._chronicle.give_up(
                errors[0] if len(errors) == 1 else HostError("\n".join(map(str, errors)))
            )
            self._cast.supervisor.stopping = True
            return False
        return all(host.was_up or _has_failed(host) for host in hosts)

    def _first_error(self, host: HostSlot) -> HostError:
        return self._first_errors.get(host.name) or HostError(f"{host.name}: {host.error}")

    def _too_few(self, count: int, minimum: int) -> str:
        lines = [
            f"  {host.name}: {host.state}{f', {host.error}' if host.error else ''}"
            for host in self._fleet.table.hosts.values()
        ]
        table = "\n".join(lines)
        return f"{count} hosts are up and failure.min_hosts is {minimum}:\n{table}"

    def _place(self, hosts: list[Host]) -> None:
        """Raises PlacementError."""
        listeners = self._cast.listeners if self._fleet.several else ()
        roles, placed = self._fleet.spec.roles, self._cast.places
        places, notices = place(self._program, hosts, roles, placed, listeners)
        if not self._is_placed:
            self.notices += notices
        self._cast.places, self._is_placed = places, True
        for name in self._cast.supervisor.homeless():
            self._cast.supervisor.placed(name, places[name].host)
