"""What crosses between hosts, as the processes of a run have counted it: bytes, and who was refused
at a door. A refusal is an event of the run: somebody who does not belong to it knocks."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping

REFUSED = "refused_handshakes"


class TrafficBook:
    """One thread writes, any thread reads. `event` is told of refusals."""

    def __init__(self, event: Callable[..., None]) -> None:
        self._event = event
        self._newest: dict[str, tuple[int, Mapping[str, int]]] = {}  # name -> incarnation, counts
        self._ended: dict[str, collections.Counter[str]] = {}  # role -> earlier incarnations' sums

    def heard(self, name: str, incarnation: int, counts: Mapping[str, int]) -> None:
        """`counts` are since the start of that incarnation (`Endpoint.metrics`)."""
        before, last = self._newest.get(name, (incarnation, {}))
        if before != incarnation:
            self._ended.setdefault(_role(name), collections.Counter()).update(last)
            last = {}
        self._newest[name] = incarnation, counts
        refused = counts.get(REFUSED, 0) - last.get(REFUSED, 0)
        if refused > 0:
            self._event("strangers_refused", actor=name, count=refused)

    def by_role(self) -> dict[str, dict[str, int]]:
        """Sums since the start of the run; empty where there is one host."""
        sums = {role: counts.copy() for role, counts in dict(self._ended).items()}
        for name, (_, counts) in dict(self._newest).items():
            sums.setdefault(_role(name), collections.Counter()).update(counts)
        return {role: dict(sums[role]) for role in sorted(sums)}


def _role(name: str) -> str:
    return name.partition("/")[0]
