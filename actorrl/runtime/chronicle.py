"""What becomes of a run: the events that it keeps, and the one failure that ends it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actorrl.errors import ActorRLError

Event = dict[str, Any]


class Chronicle:
    """Written by the service thread; the user's threads wait on `changed` and read `failure`."""

    def __init__(self, on_event: Callable[[Event], None], log_dir: Path | None) -> None:
        self._on_event = on_event
        self._log_dir = log_dir
        self.failure: ActorRLError | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.changed = threading.Condition()

    def notify(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def event(self, event: str, /, **details: Any) -> None:
        self._on_event({**details, "time": time.time(), "event": event})

    def give_up(self, failure: ActorRLError) -> None:
        """The run is over; only the first cause counts."""
        if self.failure is not None:
            return
        self.failure = failure
        self.notify()
        self.on_failure()
        with contextlib.suppress(Exception):  # the failure itself is told already
            self.event("run_failed", reason=str(failure).splitlines()[0])

    def log_hint(self, file: str) -> str:
        """Where to read on; the logs of a run without a log directory go with it."""
        return f"\n  its log: {self._log_dir / file}" if self._log_dir is not None else ""
