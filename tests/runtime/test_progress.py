"""Who hangs and who does not: the watch as a table, then real processes that stand still."""

from __future__ import annotations

import os
import signal
import time

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.program import Program, Stream
from actorrl.runtime.progress import Silence, Watch
from actorrl.runtime.refs import beat
from tests.runtime.clusters import QUICK, cluster_of, rows, wait_until

LIMIT_S = 2.0


# ---- the watch ------------------------------------------------------------------------------


def looked(watch: Watch, counts: dict[float, int]) -> list[tuple[float, Silence]]:
    return [
        (now, silence) for now, count in counts.items() for silence in watch.look({"a": count}, now)
    ]


def test_one_that_stands_still_is_told_at_half_of_its_limit_and_once_at_the_limit():
    watch = Watch()
    watch.add("a", 8.0, 5, 0.0)
    assert looked(watch, dict.fromkeys((1.0, 3.0, 4.0, 6.0, 8.0), 5)) == [
        (4.0, Silence("a", 4.0, False)),
        (8.0, Silence("a", 8.0, True)),
    ]
    assert watch.slots() == []


def test_one_that_gets_on_is_never_told_and_one_that_was_slow_once_may_be_again():
    watch = Watch()
    watch.add("a", 8.0, 0, 0.0)
    assert looked(watch, {float(now): now for now in range(1, 100)}) == []
    assert looked(watch, {102.0: 99, 104.0: 99, 105.0: 100, 107.0: 100, 109.0: 100}) == [
        (104.0, Silence("a", 5.0, False)),
        (109.0, Silence("a", 4.0, False)),
    ]


def test_a_gap_between_looks_is_nobodys_silence():
    watch = Watch()
    watch.add("a", 8.0, 0, 0.0)
    assert looked(watch, {1.0: 0, 1001.0: 0, 1003.0: 0}) == []
    assert looked(watch, {1005.0: 0}) == [(1005.0, Silence("a", 5.0, False))]


# ---- processes ------------------------------------------------------------------------------


class Hanger(Actor):
    """Stands still, or only seems to."""

    @remote
    def pid(self) -> int:
        return os.getpid()

    @remote
    def sleep(self) -> None:
        time.sleep(1000)

    @remote
    def hold_the_gil(self) -> None:
        """One call into C, for minutes."""
        pow(7, 100_000_000)

    @remote
    def stop_yourself(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    @remote
    def work(self, seconds: float) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.05)
            beat()
        return "done"

    @remote
    def wait_for(self, other) -> str:
        return other.work.call(2 * LIMIT_S).result()


def test_actors_that_hang_are_killed_at_their_limit_and_started_again(tmp_path):
    events: list[dict] = []
    ways = ("sleep", "hold_the_gil", "stop_yourself")
    with cluster_of(
        len(ways) + 1, Hanger, progress_limit_s=LIMIT_S, log_dir=tmp_path, on_event=events.append
    ) as cluster:
        hangers = [cluster.ref(f"worker/{index}") for index in range(len(ways))]
        first = [hanger.pid.call().result() for hanger in hangers]
        for hanger, way in zip(hangers, ways, strict=True):
            getattr(hanger, way).tell()
        wait_until(lambda: cluster.num_restarts() == len(ways))
        for hanger, pid in zip(hangers, first, strict=True):
            assert hanger.pid.call().result() != pid
            error = rows(cluster)[hanger.name]["last_error"]
            assert error == "hung: no progress for 2 s, its stack is in its log"
        assert rows(cluster)["worker/3"]["restarts"] == 0  # it has nothing to do: that is no hang
    for index, way in enumerate(ways):
        kinds = [event["event"] for event in events if event.get("actor") == f"worker/{index}"]
        assert kinds.index("actor_silent") < kinds.index("actor_hung") < kinds.index("actor_exited")
        log = (tmp_path / f"worker-{index}.log").read_text()
        assert "no progress for 1 s" in log
        assert way == "stop_yourself" or f"in {way}" in log  # a stopped process writes nothing


def test_long_work_that_says_so_and_waiting_for_it_are_no_hang():
    with cluster_of(2, Hanger, progress_limit_s=LIMIT_S) as cluster:
        workers = [cluster.ref(f"worker/{index}") for index in range(2)]
        assert workers[0].wait_for.call(workers[1]).result() == "done"
        assert cluster.num_restarts() == 0


class Source(Actor):
    def step(self) -> None:
        self.context.stream("out").send(None)


class Sink(Actor):
    def __init__(self) -> None:
        self.items: list = []

    def on_out(self, item) -> None:
        item.hold()
        self.items.append(item)


def test_one_that_waits_for_credit_is_no_hang():
    program = Program("test")
    source = program.add("source", Source, progress_limit_s=1.0)
    sink = program.add("sink", Sink, progress_limit_s=1.0)
    program.link("out", Stream(1), source, sink)
    with Cluster(program, policy=QUICK) as cluster:
        end = time.monotonic() + 3.0
        wait_until(lambda: time.monotonic() > end)
        assert cluster.num_restarts() == 0
