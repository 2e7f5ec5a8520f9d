"""How fast does a fragment get from one process to another on the same host?

Two copies, as a rollout worker and a learner make them: the producer fills each column in where
its stream says (an environment writes there), the consumer copies it into a batch of its own, and
counts there. Against `multiprocessing.Queue` with the same two copies around it, and against these
two copies alone, one after the other in one process (`memcpy`). Budget for the 1.2 MB fragment
(20 x 8 Atari rows): at least 5 times the queue, at least 0.4 of memcpy.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue as queues
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.links import Item
from actorrl.runtime.program import Program, Stream
from actorrl.wire.slabs import Allocate
from benchmarks.harness.pairing import Case, Sample, Side, Window

_SIZES = {"16 kB": 16_384, "128 kB": 131_072, "1.2 MB": 1_228_800, "8 MB": 8_388_608}
_WINDOW_S = 2.0
_PATIENCE_S = 60.0  # for the next fragment of a queue
_BARS = {"1.2 MB": (">= 5", ">= 0.4")}


def cases(peers: bool) -> list[Case]:
    found = []
    for name, nbytes in _SIZES.items():
        queue_bar, memcpy_bar = _BARS.get(name, ("", ""))
        found += [
            Case(name, "GB/s", _stream(nbytes), _queue(nbytes), queue_bar, together=False),
            Case(f"{name}, floor", "GB/s", _stream(nbytes), _memcpy(nbytes), memcpy_bar),
        ]
    return found


def columns(nbytes: int) -> dict[str, np.ndarray]:
    """A fragment's: nearly all of it frames, the rest small columns."""
    rows = 160
    small = {
        name: np.zeros(rows, np.float32) for name in ("rewards", "action_logp", "values", "age")
    }
    left = max(1, nbytes - sum(column.nbytes for column in small.values()))
    return {"frames": np.zeros(left, np.uint8), **small}


def _filled(source: dict[str, np.ndarray], allocate: Allocate) -> dict[str, np.ndarray]:
    """The producer's copy."""
    made = {name: allocate(column.shape, column.dtype) for name, column in source.items()}
    for name, column in source.items():
        np.copyto(made[name], column)
    return made


# ---- ours -----------------------------------------------------------------------------------


class Producer(Actor):
    def __init__(self, nbytes: int) -> None:
        self.columns = columns(nbytes)
        self.running = False

    def has_work(self) -> bool:
        return self.running

    def step(self) -> None:
        stream = self.context.stream("fragments")
        stream.send({"version": 1}, _filled(self.columns, stream.room()))

    @remote
    def run(self, running: bool) -> None:
        self.running = running


class Consumer(Actor):
    def __init__(self, nbytes: int) -> None:
        self.batch = columns(nbytes)
        self.nbytes = 0

    def on_fragments(self, item: Item) -> None:
        for name, array in item.arrays.items():
            np.copyto(self.batch[name], array)
            self.nbytes += array.nbytes

    @remote(lane="control")
    def received(self) -> tuple[float, int]:
        return time.monotonic(), self.nbytes


def _stream(nbytes: int) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        program = Program("handoff")
        producer = program.add("producer", Producer, nbytes)
        consumer = program.add("consumer", Consumer, nbytes)
        program.link("fragments", Stream(credit=3), producer, consumer)
        with Cluster(program) as cluster:
            source, sink = cluster.ref("producer/0"), cluster.ref("consumer/0")

            def window() -> Sample:
                source.run.call(True).result()
                started, first = sink.received.call().result()
                time.sleep(_WINDOW_S)
                ended, last = sink.received.call().result()
                source.run.call(False).result()
                return Sample((last - first) / (ended - started) / 1e9)

            yield window

    return Side("actorrl", opened)


# ---- the others -----------------------------------------------------------------------------


def _put(queue: Any, nbytes: int) -> None:
    source = columns(nbytes)
    while True:
        queue.put(_filled(source, np.empty))


def _queue(nbytes: int) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        context = multiprocessing.get_context("spawn")
        queue = context.Queue(maxsize=3)
        process = context.Process(target=_put, args=(queue, nbytes), daemon=True)
        process.start()
        batch = columns(nbytes)
        try:
            _next(queue)
            yield lambda: Sample(_taking(queue, batch))
        finally:
            process.kill()
            process.join()

    return Side("mp.Queue", opened)


def _taking(queue: Any, batch: dict[str, np.ndarray]) -> float:
    """GB/s of taking and copying for one window."""
    started, nbytes = time.monotonic(), 0
    while time.monotonic() - started < _WINDOW_S:
        for name, array in _next(queue).items():
            np.copyto(batch[name], array)
            nbytes += array.nbytes
    return nbytes / (time.monotonic() - started) / 1e9


def _next(queue: Any) -> dict[str, np.ndarray]:
    """Raises RuntimeError if none comes: its producer may have died."""
    try:
        found: dict[str, np.ndarray] = queue.get(timeout=_PATIENCE_S)
        return found
    except queues.Empty:
        raise RuntimeError(f"mp.Queue brought no fragment within {_PATIENCE_S:g} s") from None


def _memcpy(nbytes: int) -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        source, made, batch = columns(nbytes), columns(nbytes), columns(nbytes)

        def window() -> Sample:
            started, copied = time.monotonic(), 0
            while time.monotonic() - started < _WINDOW_S / 4:
                for name, array in source.items():
                    np.copyto(made[name], array)
                for name, array in made.items():
                    np.copyto(batch[name], array)
                copied += nbytes
            return Sample(copied / (time.monotonic() - started) / 1e9)

        yield window

    return Side("memcpy", opened)
