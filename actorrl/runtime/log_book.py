"""Logs of actors on other hosts, as far as they are forwarded: in the run's own folder, each line
under the actor's name and host. The whole log is on that host."""

from __future__ import annotations

import contextlib
from pathlib import Path


class LogBook:
    """`folder` None: the run keeps no logs."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def write(self, name: str, host: str, text: str, left_out: int) -> None:
        if self._folder is None:
            return
        slot = name.replace("/", "-")
        lines = [f"[{slot}@{host}] {line}" for line in text.splitlines()]
        if left_out:
            lines.append(f"[{slot}@{host}] ({left_out} lines not shown here)")
        with contextlib.suppress(OSError), open(self._folder / f"{slot}.log", "a") as file:
            file.write("\n".join(lines) + "\n")
