"""A file of JSON lines that grows: each line is read once, however often one looks."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Tail:
    """`read` gives all whole lines so far; anew from the start once the file was written anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0
        self._lines: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        try:
            with open(self._path, "rb") as file:
                self._follow(os.fstat(file.fileno()))
                file.seek(self._offset)
                text = file.read()
        except OSError:  # not yet
            return self._lines
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._lines += [json.loads(line) for line in whole.splitlines()]
        return self._lines

    def _follow(self, found: os.stat_result) -> None:
        if found.st_ino != self._inode or found.st_size < self._offset:
            self._inode, self._offset, self._lines = found.st_ino, 0, []
