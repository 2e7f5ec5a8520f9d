"""How long does a call to an actor take, and how many go through?

Against the same ping-pong over raw pyzmq (ipc, DEALER to ROUTER, one small frame each way), which
is the floor, and against Ray's actors. Budget: at most twice the floor, at most a fifth of Ray.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import zmq

from actorrl.runtime.cluster import Cluster
from actorrl.runtime.examples import counter
from benchmarks.harness import usage
from benchmarks.harness.pairing import Case, Sample, Side, Window
from benchmarks.peers import peer

_CALLS = 3000
_PIPELINED = 10_000
_IN_FLIGHT = 100
_PARTS = ("round_trip", "pipelined")  # of ray_calls.py
_RAY_263, _RAY_NEWEST = ("Ray 2.6.3", "ray263"), ("newest Ray", "raynew")


def cases(peers: bool) -> list[Case]:
    found = [
        Case("round trip", "us", _round_trip(), Side("pyzmq", _raw_round_trip), "<= 2"),
        Case("pipelined calls", "calls/s", _pipelined(), Side("pyzmq", _raw_pipelined)),
    ]
    if peers:
        for ray, bars in ((_RAY_263, ("<= 0.2", ">= 5")), (_RAY_NEWEST, ("", ""))):
            once, many = (peer.side(*ray, "ray_calls.py", part) for part in _PARTS)
            found += [
                Case(f"round trip, {ray[0]}", "us", _round_trip(), once, bars[0]),
                Case(f"pipelined, {ray[0]}", "calls/s", _pipelined(), many, bars[1]),
            ]
    return found


def median_us(call: Callable[[], object], count: int = _CALLS) -> float:
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1e6


def _round_trip() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        with Cluster(counter.program()) as cluster:
            add = cluster.ref("counter/0").add
            yield lambda: Sample(median_us(lambda: add.call(1).result()))

    return Side("actorrl", opened)


def _pipelined() -> Side:
    @contextlib.contextmanager
    def opened() -> Iterator[Window]:
        with Cluster(counter.program()) as cluster:
            add = cluster.ref("counter/0").add

            def window() -> Sample:
                before, started = usage.of_tree(os.getpid()), time.perf_counter()
                for _ in range(_PIPELINED // _IN_FLIGHT):
                    for future in [add.call(1) for _ in range(_IN_FLIGHT)]:
                        future.result()
                seconds = time.perf_counter() - started
                cpu_s = usage.of_tree(os.getpid()).cpu_s - before.cpu_s
                return Sample(_PIPELINED / seconds, {"cpu_s_per_1000": cpu_s / _PIPELINED * 1000})

            yield window

    return Side("actorrl", opened)


# ---- the floor ------------------------------------------------------------------------------


def _echo(address: str) -> None:
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(address)
    while True:
        socket.send_multipart(socket.recv_multipart())


@contextlib.contextmanager
def _echoing() -> Iterator[zmq.Socket]:
    with tempfile.TemporaryDirectory() as folder:
        address = f"ipc://{folder}/echo"
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_echo, args=(address,), daemon=True)
        process.start()
        zmq_context = zmq.Context()
        socket = zmq_context.socket(zmq.DEALER)
        socket.connect(address)
        try:
            yield socket
        finally:
            process.kill()
            process.join()
            zmq_context.destroy(linger=0)


@contextlib.contextmanager
def _raw_round_trip() -> Iterator[Window]:
    with _echoing() as socket:

        def call() -> None:
            socket.send(b"1" * 64)
            socket.recv()

        yield lambda: Sample(median_us(call))


@contextlib.contextmanager
def _raw_pipelined() -> Iterator[Window]:
    with _echoing() as socket:

        def window() -> Sample:
            started = time.perf_counter()
            for _ in range(_PIPELINED // _IN_FLIGHT):
                for _ in range(_IN_FLIGHT):
                    socket.send(b"1" * 64)
                for _ in range(_IN_FLIGHT):
                    socket.recv()
            return Sample(_PIPELINED / (time.perf_counter() - started))

        yield window
