"""Requests that are answered with weights no older than the learner's when it asked.

It publishes first and asks then. On its own host the weights are there when the request is; to
other hosts they come by way of the agents, and a request may be quicker.
"""

from __future__ import annotations

import collections
from collections.abc import Callable

from actorrl.runtime.context import Context
from actorrl.runtime.links import Asked

_LOOK_S = 0.002  # how often a request that waits is looked at


class AwaitedWeights:
    """A worker's. `newest()` loads what has come, and says epoch and version; `answer` is called
    with the requests in their order. It waits as long as whoever asked lives."""

    def __init__(
        self,
        context: Context,
        newest: Callable[[], tuple[int, int]],
        answer: Callable[[Asked], None],
    ) -> None:
        self._context = context
        self._newest = newest
        self._answer = answer
        self._waiting: collections.deque[Asked] = collections.deque()  # at most what the link has

    def serve(self, request: Asked) -> None:
        self._waiting.append(request)
        if len(self._waiting) == 1:  # else they are looked at in a moment
            self._go_on()

    def _go_on(self) -> None:
        while self._waiting:
            request = self._waiting[0]
            if not request.is_current():  # its weights may never come
                self._waiting.popleft().drop()
            elif self._newest() < (request.body["epoch"], request.body["min_version"]):
                self._context.after(_LOOK_S, self._go_on)
                return
            else:
                self._answer(self._waiting.popleft())
