"""The threads of a process take turns at its door."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType


class Turns:
    """Who may use the door: one thread at a time, and whoever waits comes before whoever was just
    there. `hurry` wakes a thread that waits at the door for answers."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._next = threading.Lock()
        self._door = threading.Lock()
        self._holder: int | None = None
        self._depth = 0

    def take(self, hurry: bool = True) -> Turns:
        me = threading.get_ident()
        if self._holder != me:
            with self._next:
                if not self._door.acquire(blocking=False):
                    if hurry:
                        self._wake()
                    self._door.acquire()
            self._holder = me
        self._depth += 1
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._holder = None
            self._door.release()
