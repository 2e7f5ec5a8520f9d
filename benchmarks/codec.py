"""What does it cost to make a fragment of 1.2 MB ready for the wire, and to read it back?

Against pickle (protocol 5, in one piece) of the same columns, without any transport.
"""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Callable, Iterator

from actorrl.wire import frames
from actorrl.wire.messages import Kind, Message
from benchmarks.handoff import columns
from benchmarks.harness.pairing import Case, Sample, Side, Window

_NBYTES = 1_228_800
_ROUNDS = 300


def cases(peers: bool) -> list[Case]:
    return [Case("1.2 MB there and back", "us", _ours(), _pickle(), "<= 0.2")]


def _timed(name: str, call: Callable[[], object]) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        def window() -> Sample:
            started = time.perf_counter()
            for _ in range(_ROUNDS):
                call()
            return Sample((time.perf_counter() - started) / _ROUNDS * 1e6)

        yield window

    return Side(name, opened)


def _ours() -> Side:
    made = columns(_NBYTES)

    def call() -> object:
        parts = frames.encode(Message(Kind.ITEM, "fragments", {"version": 1}, made))
        return frames.decode([memoryview(part).cast("B") for part in parts])

    return _timed("actorrl", call)


def _pickle() -> Side:
    made = columns(_NBYTES)
    return _timed("pickle", lambda: pickle.loads(pickle.dumps(made, protocol=5)))
