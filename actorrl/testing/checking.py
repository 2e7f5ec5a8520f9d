"""What the conformance checks share: a list to be entered in, patience, and `raises`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from actorrl.runtime.cluster import Cluster

CHECKS: list[Callable[[str], None]] = []
PATIENCE_S = 30.0


def check(function: Callable[[str], None]) -> Callable[[str], None]:
    """Enter a check; it is called with the name of a launcher, and asserts."""
    CHECKS.append(function)
    return function


def poll_until(cluster: Cluster, condition: Callable[[], bool]) -> None:
    """Let the actors run until something is so; fails when it does not come to that."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happens any more"
        cluster.poll(0.01)


class raises:
    """`pytest.raises` for a suite that users run without pytest."""

    def __init__(self, kind: type[BaseException], text: str) -> None:
        self.kind = kind
        self.text = text
        self.caught: Any = None

    def __enter__(self) -> raises:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> bool:
        assert error is not None, f"no {self.kind.__name__} was raised"
        if not isinstance(error, self.kind):
            return False
        assert self.text in str(error), f"{self.text!r} is not in: {error}"
        self.caught = error
        return True
