"""Why a dialled connection is not up: ZeroMQ itself retries in silence for ever.

Pure: events of the socket monitors and the time come in, verdicts go out. `Doorkeeper` feeds it.
"""

from __future__ import annotations

from dataclasses import dataclass

import zmq

PATIENCE_S = 3.0  # a line that is not up for so long is in trouble
REDIAL_S = 1.0  # after a refusal, of which ZeroMQ makes an end

_WAITING = "nobody accepts connections there, or no packet gets through"
_SILENT = "the connection is accepted, but the handshake is not answered"
_BROKEN_OFF = (
    "the handshake was broken off: another program or run listens there, whose key is another"
)
_REFUSED = "it does not know the key of this process"
_OTHER_PROTOCOL = "what listens there does not speak CURVE"


@dataclass
class _Line:
    address: str
    tried_since: float | None = None  # the first of the attempts that go on; None: it was up since
    reason: str = _WAITING
    is_up: bool = False
    is_dialled: bool = False
    is_refused: bool = False  # by whom it dialled: not dialled any more, but still in trouble
    redial_at: float | None = None


class LineWatch:
    """`trouble` says by name what is wrong with each line that ought to be up; any thread may
    copy it."""

    def __init__(self) -> None:
        self.trouble: dict[str, str] = {}
        self._lines: dict[str, _Line] = {}

    def dialled(self, name: str, address: str, now: float) -> None:
        line = self._lines.get(name)
        if line is None or line.address != address:
            self.forget(name)
            line = self._lines[name] = _Line(address)
        if line.tried_since is None:
            line.tried_since = now
        line.is_dialled, line.is_refused = True, False

    def hung_up(self, name: str) -> None:
        """The line was closed; it may be dialled again."""
        line = self._lines.get(name)
        if line is not None:
            line.is_dialled = line.is_up = False
            line.redial_at = None
            if not line.is_refused:
                line.tried_since = None

    def forget(self, name: str) -> None:
        """Nobody wants to reach it any more."""
        self._lines.pop(name, None)
        self.trouble.pop(name, None)

    def event(self, name: str, event: int, now: float) -> bool:
        """Something happened on a line. Whether it is broken: what was in flight is lost, and it
        must be dialled anew; nothing more is heard of it until then."""
        line = self._lines.get(name)
        if line is None or not line.is_dialled:
            return False
        match event:
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                line.is_up, line.tried_since, line.reason = True, None, _WAITING
                self.trouble.pop(name, None)
            case zmq.EVENT_DISCONNECTED if line.is_up:
                self.hung_up(name)
                return True
            case zmq.EVENT_CONNECTED:
                line.reason = _SILENT
            case zmq.EVENT_CONNECT_DELAYED if line.reason == _SILENT:
                line.reason = _WAITING
            case zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                line.reason, line.redial_at = _REFUSED, now + REDIAL_S
            case zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
                line.reason, line.redial_at = _OTHER_PROTOCOL, now + REDIAL_S
            case zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                line.reason = _BROKEN_OFF
        return False

    def look(self, now: float) -> list[str]:
        """Bring `trouble` up to date. The lines that are broken, as in `event`."""
        broken = []
        for name, line, since in self._trying():
            if now >= since + PATIENCE_S:
                self.trouble[name] = f"{name} cannot be reached at {line.address}: {line.reason}"
            if line.redial_at is not None and now >= line.redial_at:
                line.is_refused = True
                self.hung_up(name)
                broken.append(name)
        return broken

    def next_look(self) -> float | None:
        """When `look` will have something to say; None: not before another event."""
        times = []
        for name, line, since in self._trying():
            if line.redial_at is not None:
                times.append(line.redial_at)
            if name not in self.trouble:
                times.append(since + PATIENCE_S)
        return min(times, default=None)

    def _trying(self) -> list[tuple[str, _Line, float]]:
        return [
            (name, line, line.tried_since)
            for name, line in self._lines.items()
            if line.tried_since is not None
        ]
