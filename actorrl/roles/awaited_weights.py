"""Requests that are answered with weights no older than the learner's when it asked.

It publishes first and asks then. On its own host the weights are there when the request is; to
other hosts they come by way of the agents, and a request may be quicker. Where they do not come at
all, no other bound would end it: a worker that looks for them is alive.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable

from actorrl.errors import ActorRLError
from actorrl.runtime.context import Context
from actorrl.runtime.links import Asked
from actorrl.runtime.program import PROGRESS_LIMIT_S

_LOOK_S = 0.002  # how often a request that waits is looked at
_TELL_S = 10.0
_LIMIT_S = PROGRESS_LIMIT_S
_GAP_S = 1.0  # between two looks, at most: beyond it was us who stood still

Stamped = tuple[int, int]  # epoch and version


class AwaitedWeights:
    """A worker's. `newest()` loads what has come, and says epoch and version; `answer` is called
    with the requests in their order. One waits as long as whoever asked lives, but no longer than
    `_LIMIT_S`: then ActorRLError. An event `weights_awaited` comes long before."""

    def __init__(
        self,
        context: Context,
        newest: Callable[[], Stamped],
        answer: Callable[[Asked], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._newest = newest
        self._answer = answer
        self._clock = clock
        self._waiting: collections.deque[Asked] = collections.deque()  # at most what the link has
        self._begin_wait()

    def serve(self, request: Asked) -> None:
        self._waiting.append(request)
        if len(self._waiting) == 1:  # else they are looked at in a moment
            self._begin_wait()
            self._go_on()

    def _go_on(self) -> None:
        while self._waiting:
            request = self._waiting[0]
            wanted = request.body["epoch"], request.body["min_version"]
            if not request.is_current():  # its weights may never come
                self._waiting.popleft().drop()
            elif (newest := self._newest()) < wanted:
                self._count_wait(wanted, newest)
                self._context.after(_LOOK_S, self._go_on)
                return
            else:
                self._answer(self._waiting.popleft())
            self._begin_wait()

    def _begin_wait(self) -> None:
        """Of the first request."""
        self._waited_s, self._looked, self._is_told = 0.0, self._clock(), False

    def _count_wait(self, wanted: Stamped, newest: Stamped) -> None:
        now = self._clock()
        self._waited_s += min(now - self._looked, _GAP_S)
        self._looked = now
        host = self._context.host
        if self._waited_s >= _LIMIT_S:
            # the first line is the same each time: ends are counted by it
            raise ActorRLError(
                f"the learner's weights have not come to host {host} within {_LIMIT_S:g} s\n"
                f"  awaited: version {wanted[1]} of epoch {wanted[0]}; here: version {newest[1]} of"
                f" epoch {newest[0]}\n"
                f"  the agents of the two hosts pass them on: see agent-{host}.log beside this"
                " actor's log there, its learner's likewise, the memory of both, and the line"
                " between them"
            )
        if self._waited_s >= _TELL_S and not self._is_told:
            self._is_told = True
            self._context.event(
                "weights_awaited",
                host=host,
                seconds=round(self._waited_s, 1),
                awaited_epoch=wanted[0],
                awaited_version=wanted[1],
                epoch=newest[0],
                version=newest[1],
                see=f"agent-{host}.log on that host",
            )
