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
    since: float  # when it was first dialled in vain, or lost
    reason: str = _WAITING
    is_up: bool = False
    is_dialled: bool = True
    redial_at: float | None = None


class LineWatch:
    """`trouble` says by name what is wrong with each line that ought to be up; any thread may
    read it."""

    def __init__(self) -> None:
        self.trouble: dict[str, str] = {}
        self._lines: dict[str, _Line] = {}

    def dialled(self, name: str, address: str, now: float) -> None:
        line = self._lines.get(name)
        if line is None or line.address != address:
            self._lines[name] = _Line(address, now)
            return
        line.since = line.since if name in self.trouble or not line.is_up else now
        line.is_up, line.is_dialled, line.redial_at = False, True, None

    def hung_up(self, name: str) -> None:
        """The line was closed; it may be dialled again."""
        line = self._lines.get(name)
        if line is not None:
            line.is_dialled, line.redial_at = False, None

    def forget(self, name: str) -> None:
        """Nobody wants to reach it any more."""
        self._lines.pop(name, None)
        self.trouble.pop(name, None)

    def event(self, name: str, event: int, now: float) -> bool:
        """Something happened on a line. Whether it is broken: what was in flight is lost, and it
        must be dialled anew."""
        line = self._lines.get(name)
        if line is None or not line.is_dialled:
            return False
        match event:
            case zmq.EVENT_HANDSHAKE_SUCCEEDED:
                line.is_up, line.reason = True, _WAITING
                self.trouble.pop(name, None)
            case zmq.EVENT_DISCONNECTED if line.is_up:
                line.is_up, line.since = False, now
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
        """Bring `trouble` up to date. The lines that must be dialled anew."""
        broken = []
        for name, line in self._lines.items():
            if not line.is_dialled or line.is_up:
                continue
            if now >= line.since + PATIENCE_S:
                self.trouble[name] = f"{name} cannot be reached at {line.address}: {line.reason}"
            if line.redial_at is not None and now >= line.redial_at:
                line.redial_at = None
                broken.append(name)
        return broken

    def next_look(self) -> float | None:
        """When `look` will have something to say; None: not before another event."""
        times = [
            time
            for name, line in self._lines.items()
            if line.is_dialled and not line.is_up
            for time in (line.redial_at, None if name in self.trouble else line.since + PATIENCE_S)
            if time is not None
        ]
        return min(times, default=None)
