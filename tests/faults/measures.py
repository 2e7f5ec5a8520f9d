"""Seconds from a fault to each sign of its end, kept for the table (`times`)."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

TIMES_VARIABLE = "ACTORRL_FAULT_TIMES"  # a file that takes a line of JSON per measured fault


@dataclasses.dataclass
class Measure:
    """None where there is no such sign. `lost`: what the run's events counted, in words."""

    fault: str
    victim: str
    detect_s: float | None = None
    ready_s: float | None = None
    recover_s: float | None = None
    lost: str = ""
    note: str = ""

    def keep(self) -> None:
        path = os.environ.get(TIMES_VARIABLE)
        if path:
            line = dataclasses.asdict(self) | {"load": os.getloadavg()[0]}
            with open(path, "a") as file:
                file.write(json.dumps(line) + "\n")


def of_events(
    fault: str, victim: str, moment: float, events: Iterable[Mapping[str, Any]], note: str = ""
) -> Measure:
    """What the events of a Cluster say of an actor that was to end at `moment`."""
    later = [e for e in events if e.get("actor") == victim and e["time"] > moment - 0.01]
    seconds = {e["event"]: e["time"] - moment for e in later}  # the last of each kind
    return Measure(
        fault, victim, seconds.get("actor_exited"), seconds.get("actor_ready"), note=note
    )
