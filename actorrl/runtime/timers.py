"""What an actor does again and again, each at its own interval, or once, later."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator

Action = Callable[[], None]


class Timers:
    """One thread's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, float, Action]] = []
        self._order = itertools.count()

    def add(self, seconds: float, action: Action, once: bool = False) -> None:
        """Due in so many seconds, and, but for `once`, so many after each time that it was done."""
        assert seconds > 0, seconds
        due, again = self._clock() + seconds, 0.0 if once else seconds
        heapq.heappush(self._heap, (due, next(self._order), again, action))

    def due(self) -> Iterator[Action]:
        """All that is to be done now."""
        while self._heap and self._heap[0][0] <= self._clock():
            _, _, seconds, action = heapq.heappop(self._heap)
            yield action
            if seconds:
                self.add(seconds, action)

    def patience_ms(self, longest_ms: int) -> int:
        """How long to wait for the next one, at most."""
        if not self._heap:
            return longest_ms
        until_due = (self._heap[0][0] - self._clock()) * 1000
        return min(longest_ms, max(0, int(until_due) + 1))
