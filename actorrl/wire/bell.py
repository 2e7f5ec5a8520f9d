"""What ends another thread's wait in a poll."""

from __future__ import annotations

import contextlib
import os
import threading


class Bell:
    """`fd` can be read from a ring on, until it is heard."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.RLock()  # a signal handler may ring in the middle of a ring

    def ring(self) -> None:
        """Any thread, even after `close`."""
        with self._lock:
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

    def hear(self) -> None:
        """By who waits; does not wait itself."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.fd)

    def close(self) -> None:
        """Idempotent."""
        with self._lock:  # the number may soon be somebody else's descriptor
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1
