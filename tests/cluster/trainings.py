"""A run over sandbox hosts in the tests' own process, which goes on while they look at it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.runs import PATIENCE_S, json_lines


class Training:
    """`config.build()`, then `train()` on a thread until `stop`."""

    def __init__(self, config: Any, folder: Path) -> None:
        self.algo = config.build(name="run", results=folder / "results")
        self.rows: list[dict[str, Any]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def _train(self) -> None:
        while not self._ended.is_set():
            self.rows.append(self.algo.train(stay=True))

    def wait(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert self._thread.is_alive() and time.monotonic() < end
            time.sleep(0.05)

    def wait_for_rows(self, count: int) -> None:
        """So many more than there are."""
        wanted = len(self.rows) + count
        self.wait(lambda: len(self.rows) >= wanted)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_S)
        self.algo.stop()

    @property
    def folder(self) -> Path:
        return Path(self.algo.run_folder)

    @property
    def service(self) -> Any:
        """The driver's thread, which has the keys and addresses."""
        return self.algo.cluster._service

    def actor(self, name: str) -> dict[str, Any]:
        return next(row for row in self.algo.status() if row["name"] == name)

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [e for e in json_lines(self.folder / "events.jsonl") if e["kind"] == kind]
