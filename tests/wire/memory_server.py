"""A memory server on a thread of the test's own process, in place of an agent."""

from __future__ import annotations

import contextlib
import select
import tempfile
import threading
from collections.abc import Iterator

from actorrl.wire.shared_memory import MemoryServer


class ServedMemory:
    def __init__(self, address: str) -> None:
        self.address = address
        self.server = MemoryServer(address)
        self._ended = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        poller = select.poll()
        poller.register(self.server.fileno(), select.POLLIN)
        while not self._ended:
            for fileno, _ in poller.poll(20):
                if fileno != self.server.fileno():
                    if not self.server.serve(fileno):
                        poller.unregister(fileno)
                elif (connection := self.server.accept()) is not None:
                    poller.register(connection.fileno(), select.POLLIN)

    @contextlib.contextmanager
    def running(self) -> Iterator[ServedMemory]:
        self._thread.start()
        try:
            yield self
        finally:
            self._ended = True
            self._thread.join()
            self.server.close()


@contextlib.contextmanager
def served() -> Iterator[ServedMemory]:
    with (
        tempfile.TemporaryDirectory(prefix="rt-") as folder,
        ServedMemory(f"{folder}/memory").running() as memory,
    ):
        yield memory
