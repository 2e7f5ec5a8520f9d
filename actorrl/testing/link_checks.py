"""Conformance of links, see `conformance`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.links import Asked, Item
from actorrl.runtime.program import Program, Report, Request, State, Stream
from actorrl.runtime.refs import DRIVER, ActorRef, GroupRef, gather
from actorrl.testing.checking import check, poll_until


class Producer(Actor):
    """Sends numbers as fast as its links let it, at most `limit`."""

    def __init__(self, limit: int = 10**9, size: int = 10) -> None:
        self.limit = limit
        self.size = size
        self.made = 0

    def has_work(self) -> bool:
        return self.made < self.limit

    def step(self) -> None:
        self.made += 1
        array = np.full(self.size, self.made, np.float32)
        self.context.stream("data").send({"n": self.made}, {"x": array})

    @remote
    def counts(self) -> dict[str, int]:
        out = self.context.stream("data")
        return {"made": self.made, "sent": out.sent, "dropped": out.dropped, "lost": out.lost}


class Consumer(Actor):
    """Takes numbers; holds them while it is told to."""

    def __init__(self, holds: bool = False) -> None:
        self.holds = holds
        self.got: list[tuple[str, int]] = []
        self.held: list[Item] = []

    def on_data(self, item: Item) -> None:
        assert (item.arrays["x"] == item.body["n"]).all()
        assert not item.arrays["x"].flags.writeable
        self.got.append((item.source, item.body["n"]))
        if self.holds:
            item.hold()
            self.held.append(item)

    @remote
    def let_go(self, number: int, holds: bool = True) -> None:
        self.holds = holds
        for _ in range(number):
            item = self.held.pop(0)
            assert (item.arrays["x"] == item.body["n"]).all()  # good until it is released
            item.release()

    @remote
    def seen(self) -> list[tuple[str, int]]:
        return self.got


def stream_of(
    launcher: str, kind: Stream, *, holds: bool, num_producers: int = 1, **producer: Any
) -> tuple[Cluster, GroupRef, ActorRef]:
    program = Program("stream")
    producers = program.add_group("producer", Producer, count=num_producers, **producer)
    consumer = program.add("consumer", Consumer, holds=holds)
    program.link("data", kind, producers, consumer)
    return Cluster(program, launcher=launcher), producers, consumer


@check
def a_stream_delivers_everything_in_order(launcher: str) -> None:
    for size in (10, 20_000):  # as frames, and through shared memory
        cluster, _, consumer = stream_of(
            launcher, Stream(credit=2), holds=False, num_producers=2, limit=100, size=size
        )
        with cluster:
            poll_until(cluster, functools.partial(_has_seen, consumer, 200))
            for source in ("producer/0", "producer/1"):
                got = [n for name, n in consumer.seen.call().result() if name == source]
                assert got == list(range(1, 101))


def _has_seen(consumer: ActorRef, number: int) -> bool:
    return len(consumer.seen.call().result()) >= number


@check
def credit_bounds_what_is_in_flight(launcher: str) -> None:
    cluster, (producer,), consumer = stream_of(launcher, Stream(credit=3), holds=True, size=20_000)
    with cluster:
        for expected, released in ((3, 2), (5, 1), (6, 0)):
            poll_until(cluster, functools.partial(_has_seen, consumer, expected))
            for _ in range(20):
                cluster.poll(0.001)
            assert len(consumer.seen.call().result()) == expected
            counts = producer.counts.call().result()
            assert counts == {"made": expected, "sent": expected, "dropped": 0, "lost": 0}
            consumer.let_go.call(released).result()


@check
def a_stream_that_drops_never_stops_its_producer_and_counts(launcher: str) -> None:
    cluster, (producer,), consumer = stream_of(
        launcher, Stream(credit=2, full="drop_oldest"), holds=True, limit=50
    )
    with cluster:
        poll_until(cluster, lambda: producer.counts.call().result()["made"] == 50)
        poll_until(cluster, lambda: len(consumer.seen.call().result()) == 2)
        assert producer.counts.call().result() == {"made": 50, "sent": 2, "dropped": 46, "lost": 0}
        consumer.let_go.call(2).result()
        poll_until(cluster, lambda: len(consumer.seen.call().result()) == 4)
        assert [n for _, n in consumer.seen.call().result()] == [1, 2, 49, 50]


class Asker(Actor):
    """Asks every server for squares, as many at a time as it may."""

    def on_start(self) -> None:
        self.answers: list[tuple[str, int]] = []
        self.next = 0
        self.most = 0
        self.context.every(0.001, self.ask)

    def ask(self) -> None:
        requests = self.context.requests("squares")
        for server in requests.targets:
            while self.next < 60 and requests.ask(server, self.next, {"n": np.array(self.next)}):
                self.next += 1
            self.most = max(self.most, requests.in_flight(server))

    def on_squares(self, item: Item) -> None:
        assert item.arrays["square"] == item.body**2
        self.answers.append((item.source, item.body))

    @remote
    def result(self) -> dict[str, Any]:
        return {"answers": self.answers, "most": self.most}


class Server(Actor):
    """Answers in pairs: the first request waits for the second."""

    def on_start(self) -> None:
        self.waiting: list[Asked] = []

    def serve_squares(self, asked: Asked) -> None:
        self.waiting.append(asked)
        if len(self.waiting) == 2:
            for waiting in reversed(self.waiting):
                number = int(waiting.arrays["n"])
                waiting.respond(waiting.body, {"square": np.array(number**2)})
            self.waiting.clear()


@check
def requests_are_answered_now_or_later_and_bounded(launcher: str) -> None:
    program = Program("requests")
    asker = program.add("asker", Asker)
    servers = program.add_group("server", Server, count=2)
    program.link("squares", Request(in_flight=2), asker, servers)
    with Cluster(program, launcher=launcher) as cluster:
        poll_until(cluster, lambda: len(asker.result.call().result()["answers"]) == 60)
        result = asker.result.call().result()
        assert sorted(n for _, n in result["answers"]) == list(range(60))
        assert {name for name, _ in result["answers"]} == {"server/0", "server/1"}
        assert result["most"] == 2


class Publisher(Actor):
    def on_start(self) -> None:
        self.version = 0

    @remote
    def publish(self) -> int:
        self.version += 1
        arrays = {"w": np.full(1000, self.version, np.float32), "b": np.array(self.version)}
        self.context.publisher("weights").publish(self.version, arrays)
        return self.version


class Reader(Actor):
    def on_start(self) -> None:
        self.steps = 0

    def step(self) -> None:
        self.steps += 1

    @remote
    def look(self) -> tuple[int, int, float, int]:
        state = self.context.state("weights")
        if state.version == 0:
            return 0, 0, 0.0, self.steps
        version, arrays = state.read()
        return version, int(arrays["b"]), float(arrays["w"].mean()), self.steps


@check
def a_state_is_the_newest_version_and_nobody_steps_before_the_first(launcher: str) -> None:
    program = Program("state")
    publisher = program.add("publisher", Publisher)
    reader = program.add("reader", Reader)
    program.link("weights", State(), publisher, reader)
    with Cluster(program, launcher=launcher) as cluster:
        block = cluster.block_reader("weights")
        for _ in range(5):
            cluster.poll(0.01)
        assert reader.look.call().result() == (0, 0, 0.0, 0) and block.version == 0
        for version in (1, 2, 3):
            assert publisher.publish.call().result() == version
            assert reader.look.call().result()[:3] == (version, version, version)
            assert block.version == version and (block.read()[1]["w"] == version).all()
        poll_until(cluster, lambda: reader.look.call().result()[3] > 0)


class Reporter(Actor):
    def on_start(self) -> None:
        self.sent = 0
        self.context.every(0.001, self.report)

    def report(self) -> None:
        if self.sent < 20:
            self.sent += 1
            self.context.report("metrics").send({"sent": self.sent, "loss": np.float32(0.5)})

    @remote
    def dropped(self) -> int:
        return self.context.report("metrics").dropped


@check
def reports_reach_the_driver(launcher: str) -> None:
    heard: list[tuple[str, str, Any]] = []
    program = Program("reports")
    reporters = program.add_group("reporter", Reporter, count=2)
    program.link("metrics", Report(), reporters, DRIVER)
    cluster = Cluster(
        program,
        launcher=launcher,
        on_report=lambda link, who, body: heard.append((link, who, body)),
    )
    with cluster:
        poll_until(cluster, lambda: len(heard) == 40)
        assert gather([reporter.dropped.call() for reporter in reporters]) == [0, 0]
    assert {(link, who) for link, who, _ in heard} == {
        ("metrics", "reporter/0"),
        ("metrics", "reporter/1"),
    }
    assert [body["sent"] for _, who, body in heard if who == "reporter/0"] == list(range(1, 21))
    assert {body["loss"] for _, _, body in heard} == {0.5}
