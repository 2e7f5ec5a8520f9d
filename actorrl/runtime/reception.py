"""What agents report beside the life of their actors, and who asks for it: health, nonsense that
they are sent, stacks, logs of other hosts, and the command line's questions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from actorrl.runtime.desk import Desk, answer
from actorrl.runtime.fleet import Fleet
from actorrl.runtime.log_book import LogBook
from actorrl.runtime.supervisor import Supervisor
from actorrl.wire.control_messages import DumpStack, Health, LogLines, Stack

_SHOWN = 20  # actors in an error


class Reception:
    """The service thread's, but for the making. `directory` is the run's."""

    def __init__(
        self,
        directory: Path,
        log_dir: Path | None,
        supervisor: Supervisor,
        fleet: Fleet,
        event: Callable[..., None],
    ) -> None:
        self._desk = Desk(directory)
        self._book = LogBook(log_dir)
        self._supervisor = supervisor
        self._fleet = fleet
        self._event = event
        self._health: dict[str, tuple[float, int]] = {}
        self._malformed: dict[str, tuple[int, int]] = {}  # host -> agent's incarnation, count

    def fileno(self) -> int:
        """Can be read when somebody asks."""
        return self._desk.fileno()

    def heard(self, host: str, message: Health | Stack | LogLines) -> None:
        match message:
            case Health(actors, malformed):
                slots = self._supervisor.slots  # whatever else an agent may say
                self._health.update((name, use) for name, use in actors.items() if name in slots)
                self._note_malformed(host, malformed)
            case Stack(name, text):
                self._desk.arrived(name, {"text": text})
            case LogLines(name, text, left_out) if name in self._supervisor.slots:
                self._book.write(name, host, text, left_out)

    def _note_malformed(self, host: str, count: int) -> None:
        """An event where an agent has got more of it than it had when it said so last."""
        incarnation = self._fleet.agents[host].incarnation
        before = self._malformed.get(host, (incarnation, 0))
        known = before[1] if before[0] == incarnation else 0
        self._malformed[host] = incarnation, count
        if count > known:
            self._event("malformed_control", host=host, count=count - known)

    def take_question(self) -> None:
        taken = self._desk.take()
        if taken is None:
            return
        connection, (what, actor) = taken
        slot = self._supervisor.slots.get(actor)
        if what == "top":
            answer(connection, {"actors": self._rows(), "hosts": self._fleet.health()})
        elif what != "stack" or slot is None:
            known = ", ".join(list(self._supervisor.slots)[:_SHOWN])
            answer(connection, {"error": f"{actor}: there is no such actor, there are {known}"})
        elif slot.pid is None or slot.host is None:
            answer(connection, {"error": f"{actor} is {slot.state}, it has no process now"})
        else:
            self._desk.wait(actor, connection)
            self._fleet.say(slot.host, DumpStack(actor))

    def tick(self) -> None:
        """Who waits for too long is told."""
        self._desk.tick()

    def _rows(self) -> list[dict[str, Any]]:
        """A row per actor, with what it uses."""
        rows = self._supervisor.rows()
        for row in rows:
            row["cores"], row["rss_bytes"] = self._health.get(row["name"], (0.0, 0))
        return rows

    def close(self) -> None:
        self._desk.close()
