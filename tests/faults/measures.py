"""Seconds from a fault to each sign of its end, kept for the table (`times`)."""

from __future__ import annotations

import dataclasses
import json
import os

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
