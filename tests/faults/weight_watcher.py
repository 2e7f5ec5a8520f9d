"""The weights of a run, read all the time from outside."""

from __future__ import annotations

import collections
import contextlib
import threading
import zlib

from actorrl.errors import WireError
from actorrl.wire.blocks import BlockReader
from actorrl.wire.shared_memory import MemoryClient

_PERIOD_S = 0.005


class WeightWatcher(threading.Thread):
    """Versions never go back within an epoch, epochs never, and one version has one content: a torn
    copy would differ from the next copy of the same version."""

    def __init__(self, memory_address: str) -> None:
        super().__init__(daemon=True)
        self._client = MemoryClient(memory_address)
        self._content = 0
        self.over = threading.Event()
        self.seen: collections.deque[tuple[int, int]] = collections.deque(maxlen=10_000)
        self.num_compared = 0
        self.error: str | None = None

    def run(self) -> None:
        with contextlib.suppress(WireError):  # the agent has gone
            reader = BlockReader(self._client, "state/weights")
            while not self.over.wait(_PERIOD_S) and self.error is None:
                if reader.version:
                    self._look(reader)
        self._client.close()

    def _look(self, reader: BlockReader) -> None:
        epoch = reader.epoch
        version, arrays = reader.read()
        if reader.epoch != epoch:
            return  # between two writers: the next look tells
        content = 0
        for array in arrays.values():
            content = zlib.crc32(array.tobytes(), content)
        last = self.seen[-1] if self.seen else (0, 0)
        if epoch < last[0] or (epoch == last[0] and version < last[1]):
            self.error = f"weights {(epoch, version)} after {last}"
        elif (epoch, version) == last:
            self.num_compared += 1
            if content != self._content:
                self.error = f"two contents of version {version} of epoch {epoch}"
        else:
            self.seen.append((epoch, version))
        self._content = content

    def end(self) -> None:
        self.over.set()
        self.join(timeout=10)
