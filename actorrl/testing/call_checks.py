"""Conformance of calls and of an actor's life, see `conformance`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from actorrl.errors import CallError, RemoteError, RunFailed, WireError
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.mailbox import Later
from actorrl.runtime.program import Program
from actorrl.runtime.refs import ActorRef, gather
from actorrl.testing.checking import check, poll_until, raises


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
        with raises(WireError, "builtins.object"):
            probe.echo.call([object()])
        with raises(RemoteError, "builtins.object") as error:
            probe.give_what_cannot_travel.call().result()
        assert error.caught.executed == "yes"
        with raises(WireError, "only numbers"):
            probe.echo.call(np.array([object()]))
        assert probe.echo.call(1).result() == 1


@check
def an_error_says_what_where_and_whether_it_ran(launcher: str) -> None:
    with probes(launcher) as cluster:
        probe = cluster.ref("probe/0")
        pid = probe.where.call().result()[3]
        with raises(RemoteError, "ZeroDivisionError: by naught") as error:
            probe.fail.call("by naught").result()
        text = str(error.caught)
        assert f"probe/0 (incarnation 1, pid {pid}, host local)" in text
        assert "in fail" in text and error.caught.executed == "yes"


@check
def a_method_that_is_not_remote_is_refused(launcher: str) -> None:
    with probes(launcher) as cluster:
        with raises(AttributeError, "no remote method 'on_stop'"):
            _ = cluster.ref("probe/0").on_stop
        untyped = cluster.ref("probe/0").echo.call(cluster.ref("probe/0")).result()
        assert isinstance(untyped, ActorRef)
        untyped.bind(cluster.ref("probe/0").caller())
        with raises(RemoteError, "no remote method 'on_stop'") as error:
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
        with raises(RemoteError, "CallCycle"):
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
        with raises(CallError, "stopped") as error:
            probe.echo.call(1)
        assert error.caught.executed == "no"
        with raises(CallError, "stopped"):
            pending.result()
        assert {row["pid"] for row in cluster.status()} == {None}


@check
def a_cluster_starts_once(launcher: str) -> None:
    with probes(launcher) as cluster, raises(RunFailed, "started before"):
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
