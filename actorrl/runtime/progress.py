"""Progress beats: who still gets on, seen from outside.

Every actor's main thread counts its rounds in a word of shared memory. The word stands still when
the main thread does: in an environment that never returns, in C code that holds the GIL, under
SIGSTOP. The agent looks at the words; it needs no help of the process that it looks at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from actorrl.wire.shared_memory import MemoryClient, MemoryServer

_NAME = "progress"
_MAX_SLOTS = 8192
_WORD_NBYTES = 8
_GAP_S = 5.0  # looks further apart than this: we were asleep, not they


class ProgressTable:
    """The agent's side: one word per slot of its host."""

    def __init__(self, memory: MemoryServer) -> None:
        self._words = memory.hold(_NAME, _MAX_SLOTS * _WORD_NBYTES).view(np.int64)
        self._index: dict[str, int] = {}

    def index(self, slot: str) -> int:
        """The word of a slot, the same for all its incarnations; -1 when all words are taken: then
        nobody watches that actor."""
        if slot not in self._index and len(self._index) == _MAX_SLOTS:
            return -1
        return self._index.setdefault(slot, len(self._index))

    def count(self, slot: str) -> int:
        return int(self._words[self._index[slot]])


class Beat:
    """The actor's side; called in every round of its main loop, so it costs next to nothing."""

    def __init__(self, memory: MemoryClient, index: int) -> None:
        word = memory.open(_NAME)[index * _WORD_NBYTES : (index + 1) * _WORD_NBYTES]
        self._word = word.data.cast("q")
        self._count = self._word[0]  # of its predecessor: whoever looks must see a change

    def __call__(self) -> None:
        self._count += 1
        self._word[0] = self._count


@dataclasses.dataclass(frozen=True)
class Silence:
    """An actor that has not got on for `seconds`: half of its limit, or all of it."""

    slot: str
    seconds: float
    at_limit: bool


@dataclasses.dataclass
class _Watched:
    limit_s: float
    count: int
    since: float  # when the count was first seen
    warned: bool = False


class Watch:
    """Who has been silent for too long. Pure: counts in, silences out, time passed in."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._last_look: float | None = None

    def add(self, slot: str, limit_s: float, count: int, now: float) -> None:
        self._watched[slot] = _Watched(limit_s, count, now)

    def remove(self, slot: str) -> None:
        self._watched.pop(slot, None)

    def slots(self) -> list[str]:
        return list(self._watched)

    def look(self, counts: Mapping[str, int], now: float) -> list[Silence]:
        """Each silence is told twice: at half of the limit, and once at the limit."""
        gap = 0.0 if self._last_look is None else now - self._last_look
        self._last_look = now
        if gap > _GAP_S:
            for watched in self._watched.values():
                watched.since += gap
        found = []
        for slot, watched in list(self._watched.items()):
            silence = _silence(slot, watched, counts[slot], now)
            if silence is not None:
                found.append(silence)
                if silence.at_limit:
                    self.remove(slot)
        return found


def _silence(slot: str, watched: _Watched, count: int, now: float) -> Silence | None:
    if count != watched.count:
        watched.count, watched.since, watched.warned = count, now, False
        return None
    seconds = now - watched.since
    if seconds >= watched.limit_s:
        return Silence(slot, seconds, at_limit=True)
    if seconds >= watched.limit_s / 2 and not watched.warned:
        watched.warned = True
        return Silence(slot, seconds, at_limit=False)
    return None
