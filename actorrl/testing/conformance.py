"""What a Program may rely on under every launcher, as checks that a test runs over each of them:

    @pytest.fixture(params=conformance.LAUNCHERS)
    def launcher(request): return request.param

    @pytest.mark.parametrize("check", conformance.CHECKS)
    def test_launcher(launcher, check): check(launcher)

Each check builds a small Program, runs it, and asserts. To test a new launcher, add its name.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from actorrl.errors import CallError, RemoteError, RunFailed, WireError
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.links import Asked, Item
from actorrl.runtime.mailbox import Later
from actorrl.runtime.program import Program, Report, Request, State, Stream
from actorrl.runtime.refs import DRIVER, ActorRef, GroupRef, gather

LAUNCHERS = ("inproc", "local")
CHECKS: list[Callable[[str], None]] = []
PATIENCE_S = 30.0


def check(function: Callable[[str], None]) -> Callable[[str], None]:
    CHECKS.append(function)
    return function


def poll_until(cluster: Cluster, condition: Callable[[], bool]) -> None:
    """Let the actors run until something is so; fails when it does not come to that."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happens any more"
        cluster.poll(0.01)


# ---- calls ----------------------------------------------------------------------------------


class Probe(Actor):
    """Does what it is told, and remembers in which order."""

    def __init__(self, others: tuple[ActorRef, ...] = (), stop_file: str = "") -> None:
        self.others = others
        self.stop_file = stop_file
        self.notes: list[Any] = []
        self.waiting: list[Later] = []

    def on_stop(self) -> None:
        if self.stop_file:
            with open(self.stop_file, "a") as file:
                file.write(f"{self.context.name}\n")

    @remote
    def echo(self, value: Any = None, **kwargs: Any) -> Any:
        return kwargs or value

    @remote
    def note(self, value: Any) -> None:
        self.notes.append(value)

    @remote
    def read_notes(self) -> list[Any]:
        return self.notes

    @remote
    def fail(self, message: str) -> None:
        raise ZeroDivisionError(message)

    @remote
    def give_what_cannot_travel(self) -> Any:
        return object()

    @remote
    def change(self, array: np.ndarray) -> float:
        array += 1
        return float(array.sum())

    @remote
    def answer_later(self) -> Later:
        self.waiting.append(Later())
        return self.waiting[-1]

    @remote
    def answer_now(self, value: Any) -> int:
        for later in self.waiting:
            later.resolve(value)
        return len(self.waiting)

    @remote(lane="control")
    def look(self) -> int:
        return len(self.notes)

    @remote
    def ask(self, other: ActorRef, method: str, *args: Any) -> Any:
        return getattr(other, method).call(*args).result()

    @remote
    def tell_myself(self, me: ActorRef, value: Any) -> None:
        me.note.tell(value)
        self.notes.append("told")

    @remote
    def where(self) -> tuple[str, int, int, int]:
        context = self.context
        return context.role, context.index, context.incarnation, os.getpid()


def probes(launcher: str, count: int = 1) -> Cluster:
    program = Program("probes")
    program.add_group("probe", Probe, count=count)
    return Cluster(program, launcher=launcher)


@check
def values_travel_as_they_are(launcher: str) -> None:
    value = {"n": None, "t": (1, 2.5, [True, "x"]), "b": b"\x00\xff", 3: {"deep": (-1,)}}
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        back = probe.echo.call(value).result()
        assert back == value and type(back["t"]) is tuple
        assert probe.echo.call(a=1, b=[2]).result() == {"a": 1, "b": [2]}
        assert probe.echo.call(np.float32(0.5)).result() == 0.5
        assert probe.echo.call(cluster.ref("probe/0")).result() == probe


@check
def arrays_travel_as_copies_of_ones_own(launcher: str) -> None:
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        for shape in ((), (0, 3), (5,), (300, 400)):
            array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
            np.testing.assert_array_equal(probe.echo.call([array]).result()[0], array)
        zeros = np.zeros(4)
        assert probe.change.call(zeros).result() == 4.0 and zeros.sum() == 0.0


@check
def what_cannot_travel_is_named(launcher: str) -> None:
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        with _raises(WireError, "builtins.object"):
            probe.echo.call([object()])
        with _raises(RemoteError, "builtins.object") as error:
            probe.give_what_cannot_travel.call().result()
        assert error.caught.executed == "yes"
        with _raises(WireError, "only numbers"):
            probe.echo.call(np.array([object()]))
        assert probe.echo.call(1).result() == 1


@check
def an_error_says_what_where_and_whether_it_ran(launcher: str) -> None:
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        pid = probe.where.call().result()[3]
        with _raises(RemoteError, "ZeroDivisionError: by naught") as error:
            probe.fail.call("by naught").result()
        text = str(error.caught)
        assert f"probe/0 (incarnation 1, pid {pid}, host local)" in text
        assert "in fail" in text and error.caught.executed == "yes"


@check
def a_method_that_is_not_remote_is_refused(launcher: str) -> None:
    with probes(launcher) as cluster:
        with _raises(AttributeError, "no remote method 'on_stop'"):
            _ = cluster.ref("probe/0").on_stop
        untyped = cluster.ref("probe/0").echo.call(cluster.ref("probe/0")).result()
        assert isinstance(untyped, ActorRef)
        untyped.bind(cluster.ref("probe/0").caller())
        with _raises(RemoteError, "no remote method 'on_stop'") as error:
            untyped.on_stop.call().result()
        assert error.caught.executed == "no"


@check
def messages_of_one_sender_are_handled_in_order(launcher: str) -> None:
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        futures = []
        for number in range(200):
            if number % 3:
                probe.note.tell(number)
            else:
                futures.append(probe.note.call(number))
        gather(futures)
        assert probe.read_notes.call().result() == list(range(200))


@check
def a_thousand_open_calls_are_all_answered(launcher: str) -> None:
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        assert gather([probe.echo.call(number) for number in range(1000)]) == list(range(1000))


@check
def a_group_is_called_at_once_and_each_knows_itself(launcher: str) -> None:
    with probes(launcher, 3) as cluster:
        wheres = gather([cluster.ref(f"probe/{i}").where.call() for i in range(3)])
        assert [where[:3] for where in wheres] == [
            ("probe", 0, 1),
            ("probe", 1, 1),
            ("probe", 2, 1),
        ]
        assert all(where[3] == os.getpid() for where in wheres) == (launcher == "inproc")


@check
def references_can_be_passed_on(launcher: str) -> None:
    """In a constructor, in a call, and once more; the control lane of the actor goes with it."""
    program = Program("chain")
    last = program.add("probe", Probe)
    middle = program.add("probe", Probe, others=(last,))
    first = program.add("probe", Probe)
    with Cluster(program, launcher=launcher) as cluster:
        last.note.call(1).result()
        assert first.ask.call(middle, "echo", 5).result() == 5
        assert first.ask.call(last, "look").result() == 1
        assert first.ask.call(middle, "ask", last, "look").result() == 1
        assert cluster.ref("probe/0") == last


@check
def a_call_can_be_answered_later(launcher: str) -> None:
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        futures = [probe.answer_later.call(), probe.answer_later.call()]
        assert not futures[0].done()
        assert probe.answer_now.call("now").result() == 2
        assert gather(futures) == ["now", "now"]


@check
def a_cycle_of_calls_is_an_error(launcher: str) -> None:
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        with _raises(RemoteError, "CallCycle"):
            probe.ask.call(probe, "echo").result()
        assert probe.echo.call(1).result() == 1


@check
def an_actor_can_tell_itself(launcher: str) -> None:
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        probe.tell_myself.call(probe, "later").result()
        poll_until(cluster, lambda: len(probe.read_notes.call().result()) == 2)
        assert probe.read_notes.call().result() == ["told", "later"]


class Greeter(Actor):
    """Calls another while it starts."""

    def __init__(self, other: ActorRef) -> None:
        self.other = other

    def on_start(self) -> None:
        self.answer = self.other.echo.call("hello").result()

    @remote
    def heard(self) -> str:
        return str(self.answer)


@check
def actors_can_be_called_while_others_start(launcher: str) -> None:
    program = Program("greeting")
    probe_name = ActorRef("probe/0", Probe)
    greeter = program.add("greeter", Greeter, probe_name)  # before the one that it calls
    program.add("probe", Probe)
    with Cluster(program, launcher=launcher):
        assert greeter.heard.call().result() == "hello"


@check
def a_stop_calls_on_stop_once_and_ends_all_calls(launcher: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/stops"
        program = Program("stops")
        program.add_group("probe", Probe, stop_file=path, count=2)
        cluster = Cluster(program, launcher=launcher)
        cluster.start()
        probe = cluster.ref("probe/0")
        pending = probe.answer_later.call()
        assert cluster.stop() == [] and cluster.stop() == []
        assert sorted(Path(path).read_text().split()) == ["probe/0", "probe/1"]
        with _raises(CallError, "stopped") as error:
            probe.echo.call(1)
        assert error.caught.executed == "no"
        with _raises(CallError, "stopped"):
            pending.result()
        assert {row["pid"] for row in cluster.status()} == {None}


@check
def a_cluster_starts_once(launcher: str) -> None:
    with probes(launcher) as cluster, _raises(RunFailed, "started before"):
        cluster.start()


@check
def the_status_has_a_row_per_actor(launcher: str) -> None:
    with probes(launcher, 2) as cluster:
        rows = {row["name"]: row for row in cluster.status() if row["role"] != "agent"}
        pid = cluster.ref("probe/1").where.call().result()[3]
        assert rows["probe/1"] == {
            "name": "probe/1",
            "role": "probe",
            "host": "local",
            "pid": pid,
            "state": "ready",
            "incarnation": 1,
            "restarts": 0,
            "last_error": None,
        }
        assert cluster.num_ready("probe") == 2 and cluster.num_restarts() == 0


# ---- links ----------------------------------------------------------------------------------


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


class _raises:
    """`pytest.raises` for a suite that users run without pytest."""

    def __init__(self, kind: type[BaseException], text: str) -> None:
        self.kind = kind
        self.text = text
        self.caught: Any = None

    def __enter__(self) -> _raises:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> bool:
        assert error is not None, f"no {self.kind.__name__} was raised"
        if not isinstance(error, self.kind):
            return False
        assert self.text in str(error), f"{self.text!r} is not in: {error}"
        self.caught = error
        return True
