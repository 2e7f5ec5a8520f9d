"""A driver's sign of life on a disk that other machines see: its status.json is never old."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

SIGN_OF_LIFE_S = 10.0
_END_S = 1.0  # a disk that does not answer holds nobody up


class SignOfLife:
    """From a thread of its own: an iteration, an evaluation or a user's own code may be quiet for
    minutes. Begins at once."""

    def __init__(self, file: Path) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=touch_until, args=(file, self._ended.wait), name="sign of life", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join(_END_S)


def touch_until(file: Path, ended: Callable[[float], bool]) -> None:
    """Every so often, until `ended(seconds)` is true after so many seconds at most."""
    while not ended(SIGN_OF_LIFE_S):
        with contextlib.suppress(OSError):  # there is none yet, or the disk refuses
            os.utime(file)
