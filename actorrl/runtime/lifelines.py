"""Lifelines that broke while their hosts are still heard of: they are opened again in the
background, so that a driver which then stands still ends nobody, and its death is seen at once."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable

from actorrl.errors import HostError
from actorrl.runtime.launch import Connected

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_JITTER = 0.2


@dataclasses.dataclass(frozen=True)
class Mended:
    """`holder` is the process on the host that holds the new one."""

    holder: int
    attempts: int
    seconds: float


class Lifelines:
    """`is_wanted(process)` says whether its host is still to be had; `on_mended` is called on the
    thread that has opened it."""

    def __init__(
        self,
        is_wanted: Callable[[Connected], bool],
        on_mended: Callable[[Connected, Mended], None],
        first_pause_s: float = _FIRST_PAUSE_S,
    ) -> None:
        self._is_wanted = is_wanted
        self._on_mended = on_mended
        self._first_pause_s = first_pause_s
        self._ended = threading.Event()

    def mend(self, process: Connected) -> None:
        """Try until it is open, with growing pauses."""
        threading.Thread(target=self._mend, args=(process,), name="lifeline", daemon=True).start()

    def close(self) -> None:
        """Try no more."""
        self._ended.set()

    def _mend(self, process: Connected) -> None:
        started, attempts, pause = time.monotonic(), 0, self._first_pause_s
        while not self._ended.wait(pause * random.uniform(1 - _JITTER, 1 + _JITTER)):
            if not self._is_wanted(process):
                return
            attempts += 1
            try:
                holder = process.reopen()
            except HostError:
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                continue
            self._on_mended(process, Mended(holder, attempts, time.monotonic() - started))
            return
