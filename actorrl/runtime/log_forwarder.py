"""What actors of another host write, on its way to the driver: so many lines a second of each, and
a count of those that were left out. The file on the host has all of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from actorrl.runtime.running import Running

_LOOK_S = 0.5
LINES_PER_LOOK = 100
_MAX_BYTES = 64 * 1024  # of one look
_MAX_READ = 16 * _MAX_BYTES
_MAX_LINE = 1000  # characters


class LogForwarder:
    """Looked at by the agent's only loop."""

    def __init__(self) -> None:
        self._positions: dict[tuple[str, int], int] = {}
        self._next_look = 0.0

    def look(self, actors: Iterable[Running]) -> Iterator[tuple[str, str, int]]:
        """Name, new text of whole lines, and how many lines more there were."""
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + _LOOK_S
        for running in list(actors):
            yield from self.rest(running)

    def end(self, running: Running) -> Iterator[tuple[str, str, int]]:
        """The same for one that has ended, at once, with a last line that has no end. Of too many
        lines the last are shown, which may say why it has ended; how many were before them comes
        first."""
        start = self._positions.pop((running.name, running.incarnation), running.log_start)
        try:
            with open(running.log_file, "rb") as file:
                end = file.seek(0, os.SEEK_END)
                if start > end:  # see `rest`
                    start = 0
                tail = max(start, end - _MAX_READ)
                left_out = _num_ends_of_lines(file, start, tail)
                lines = file.read(_MAX_READ).splitlines()
        except OSError:
            return
        shown = shortened(lines[: -LINES_PER_LOOK - 1 : -1])[::-1]
        left_out += len(lines) - len(shown)
        if left_out:
            yield running.name, "", left_out
        if shown:
            yield running.name, "\n".join(shown), 0

    def rest(self, running: Running) -> Iterator[tuple[str, str, int]]:
        """The same for one actor, at once."""
        key = (running.name, running.incarnation)
        start = self._positions.get(key, running.log_start)
        try:
            with open(running.log_file, "rb") as file:
                if start > file.seek(0, os.SEEK_END):  # it was too long, see Running.trim_log
                    start = 0
                file.seek(start)
                content = file.read(_MAX_READ)
        except OSError:
            return
        # a line that never ends, such as a progress bar's, must not hold up what follows
        is_endless = len(content) == _MAX_READ and b"\n" not in content
        whole = content if is_endless else content[: content.rfind(b"\n") + 1]
        if not whole:
            return
        self._positions[key] = start + len(whole)
        lines = whole.splitlines()
        shown = shortened(lines[:LINES_PER_LOOK])
        yield running.name, "\n".join(shown), len(lines) - len(shown)


def _num_ends_of_lines(file: BinaryIO, start: int, end: int) -> int:
    """Between two positions; the file is at the second one then."""
    file.seek(start)
    count = 0
    while more := file.read(min(_MAX_READ, end - file.tell())):
        count += more.count(b"\n")
    return count


def shortened(lines: list[bytes]) -> list[str]:
    """Printable lines, in all no more than a message may have."""
    shown: list[str] = []
    size = 0
    for line in lines:
        text = line[: _MAX_LINE * 4].decode(errors="replace")[:_MAX_LINE]
        size += len(text)
        if size > _MAX_BYTES:
            break
        shown.append("".join(_printable(character) for character in text))
    return shown


def _printable(character: str) -> str:
    if character.isprintable() or character == "\t":
        return character
    return f"\\x{ord(character):02x}"
