"""What a fault has lost, as events say it, agrees with an outside checker that saw every element.

Producers number their elements, and both ends write each number into a file of their own, before
they send it or are done with it, and again afterwards; whoever is killed, the file stays. Where the
end of an element was killed between the two, it may be counted or not: at most one per death.
"""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.links import Item
from actorrl.runtime.program import Program, State, Stream
from actorrl.runtime.slots import Policy
from tests.faults.measures import Measure
from tests.runtime.clusters import left_of, rows, wait_until

CREDIT = 3
RECORD = struct.Struct("<iiiii")  # producer, its incarnation, number, rows, 1 before or 2 after


class Journal:
    """Records that are in the file, at once, whoever is killed."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, *record: int) -> None:
        os.write(self._fd, RECORD.pack(*record))


def journal(folder: Path, name: str) -> list[tuple[int, ...]]:
    path = folder / name.replace("/", "-")
    return list(RECORD.iter_unpack(path.read_bytes())) if path.exists() else []


class Producer(Actor):
    """Sends numbered elements as fast as it may; a few by shared memory, a few as frames."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._number = 0
        self._paused = False

    def on_start(self) -> None:
        self._journal = Journal(Path(self._folder) / self.context.name.replace("/", "-"))

    def has_work(self) -> bool:
        return not self._paused

    def step(self) -> None:
        self._number += 1
        count = self._number % 7
        size = 20_000 if self._number % 2 else 10
        array = np.full(size, self._number, np.int64)
        record = (self.context.index, self.context.incarnation, self._number, count)
        self._journal.write(*record, 1)
        self.context.stream("data").send(self._number, {"x": array}, rows=count)
        self._journal.write(*record, 2)

    @remote
    def pause(self) -> None:
        self._paused = True

    @remote
    def drops(self) -> dict[str, int]:
        return self.context.drops


class Consumer(Actor):
    """Takes them, and now and then keeps one for a while."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._held: list[Item] = []

    def on_start(self) -> None:
        self._journal = Journal(Path(self._folder) / self.context.name.replace("/", "-"))
        self._publisher = self.context.publisher("weights")
        self._version = self._publisher.newest_version()
        self._epoch = self._publisher.newest_epoch() + 1
        self._publish()

    def _publish(self) -> None:
        self._version += 1
        arrays = {"flat": np.full(50_000, self._version), "more": np.full(9, self._version)}
        self._publisher.publish(self._version, arrays, self._epoch)

    def on_data(self, item: Item) -> None:
        assert (item.arrays["x"] == item.body).all(), "torn"
        self._publish()
        item.hold()
        if item.body % 5 == 0:
            self._held.append(item)
        else:
            self._finish(item)
        if len(self._held) > 1:
            self._finish(self._held.pop(0))

    @remote
    def let_go(self) -> int:
        while self._held:
            self._finish(self._held.pop(0))
        return self.context.drops.get("from an old incarnation", 0)

    def _finish(self, item: Item) -> None:
        index = int(item.source.partition("/")[2])
        record = (index, item.incarnation, item.body, item.body % 7)
        self._journal.write(*record, 1)
        item.release()
        self._journal.write(*record, 2)


def program(folder: Path, num_producers: int) -> Program:
    built = Program("counting")
    producers = built.add_group("producer", Producer, str(folder), count=num_producers)
    consumer = built.add("consumer", Consumer, str(folder))
    built.link("data", Stream(CREDIT), producers, consumer)
    built.link("weights", State(), consumer, producers)
    return built


class Watcher(threading.Thread):
    """Reads the weights all the time, from outside: never torn, never backwards in an epoch."""

    def __init__(self, reader: Any) -> None:
        super().__init__(daemon=True)
        self._reader = reader
        self.over = threading.Event()
        self.seen: list[tuple[int, int]] = []
        self.error: str | None = None

    def run(self) -> None:
        while not self.over.is_set() and self.error is None:
            epoch = self._reader.epoch
            version, arrays = self._reader.read()
            torn = any((array != version).any() for array in arrays.values())
            if torn:
                self.error = f"torn version {version}"
            last = self.seen[-1] if self.seen else (0, 0)
            if version < last[1] or epoch < last[0]:
                self.error = f"{(epoch, version)} after {last}"
            if (epoch, version) != last:
                self.seen.append((epoch, version))
            self.over.wait(0.001)


def lost_by_events(events: list[dict[str, Any]]) -> tuple[int, int]:
    told = [event for event in events if event["event"] == "elements_lost"]
    assert all(event["exact"] for event in told)
    return sum(event["elements"] for event in told), sum(event["rows"] for event in told)


class Checked:
    """What the journals say: lost for certain, and may be counted as lost or not."""

    def __init__(self, folder: Path) -> None:
        sent, unsure = both_stages(folder, ["producer/0", "producer/1"])
        taken, half_taken = both_stages(folder, ["consumer/0"])
        self.unsure = unsure | half_taken - taken
        self.lost = sent - taken - half_taken

    def agrees_with(self, told: tuple[int, int]) -> bool:
        elements, rows = told
        more = elements - len(self.lost)
        most = sum(record[3] for record in self.lost | self.unsure)
        least = sum(record[3] for record in self.lost)
        return 0 <= more <= len(self.unsure) and least <= rows <= most


def both_stages(folder: Path, names: list[str]) -> tuple[set[tuple[int, ...]], set[Any]]:
    """Records written before and after, and those written before alone."""
    records = [record for name in names for record in journal(folder, name)]
    before = {record[:4] for record in records if record[4] == 1}
    after = {record[:4] for record in records if record[4] == 2}
    return after, before - after


def wait_for_more(folder: Path, elements: int) -> None:
    enough = len(journal(folder, "consumer/0")) + 2 * elements
    wait_until(lambda: len(journal(folder, "consumer/0")) > enough, 60)


def all_are(cluster: Cluster, names: list[str], incarnation: int) -> bool:
    now = [rows(cluster)[name] for name in names]
    return all(row["incarnation"] == incarnation and row["state"] == "ready" for row in now)


@pytest.mark.parametrize(
    "victims",
    [
        pytest.param(["producer/0"], marks=pytest.mark.slow),
        ["producer/0", "producer/1"],
        pytest.param(["consumer/0"], marks=pytest.mark.slow),
        ["consumer/0", "producer/1"],
    ],
    ids=" and ".join,
)
def test_whoever_is_killed_the_counts_agree_with_the_checkers(victims, tmp_path, run_id):
    seed = random.Random(" ".join(victims))
    events: list[dict[str, Any]] = []
    cluster = Cluster(
        program(tmp_path, 2),
        run_id=run_id,
        on_event=events.append,
        policy=Policy(backoff_s=0.02, max_restarts=50),
    )
    with cluster:
        watcher = Watcher(cluster.block_reader("weights"))
        watcher.start()
        for incarnation in range(2, 5):
            wait_for_more(tmp_path, seed.randint(5, 200))
            for name in victims:
                os.kill(rows(cluster)[name]["pid"], signal.SIGKILL)
            wait_until(lambda i=incarnation: all_are(cluster, victims, i), 60)
        wait_for_more(tmp_path, 20)
        for index in range(2):
            cluster.ref(f"producer/{index}").pause.call().result()
        wait_until(lambda: cluster.ref("consumer/0").let_go.call().result() >= 0)

        def agree() -> bool:
            cluster.ref("consumer/0").let_go.call().result()
            return Checked(tmp_path).agrees_with(lost_by_events(events))

        wait_until(agree, 30)
        assert len(Checked(tmp_path).unsure) <= 3 * len(victims)
        watcher.over.set()
        watcher.join()
        assert watcher.error is None
        restarts = 3 * ("consumer/0" in victims)
        assert watcher.seen[-1][0] == 1 + restarts, "an epoch for each incarnation of the writer"
        assert cluster.num_restarts() == 3 * len(victims)
    assert left_of(run_id) == []


def test_without_memory_for_a_slab_elements_travel_as_frames(monkeypatch, tmp_path, run_id):
    monkeypatch.setenv("ACTORRL_FAILPOINTS", "memory.create=no_memory@1+")
    events: list[dict[str, Any]] = []
    with Cluster(program(tmp_path, 1), run_id=run_id, on_event=events.append) as cluster:
        wait_for_more(tmp_path, 30)
        drops = cluster.ref("producer/0").drops.call().result()
        assert drops["no memory for a slab: sent as frames"] > 5
    note = f"{drops['no memory for a slab: sent as frames']} elements sent as frames, none lost"
    Measure("no memory for a slab", "producer/0", note=note).keep()
    assert [event for event in events if event["event"] == "actor_exited"] == []
    assert lost_by_events(events) == (0, 0)


def test_a_consumer_that_stands_still_holds_its_producers_and_nothing_is_lost(tmp_path, run_id):
    events: list[dict[str, Any]] = []
    with Cluster(program(tmp_path, 2), run_id=run_id, on_event=events.append) as cluster:
        wait_for_more(tmp_path, 20)
        consumer = rows(cluster)["consumer/0"]["pid"]
        os.kill(consumer, signal.SIGSTOP)
        producers = [f"producer/{index}" for index in range(2)]
        before: list[int] = []

        def stands_still() -> bool:
            counts = [len(journal(tmp_path, name)) for name in producers]
            same, before[:] = counts == before, counts
            return same

        wait_until(lambda: [stands_still(), time.sleep(0.5)][0])
        unfinished = len(both_stages(tmp_path, producers)[0]) - len(
            both_stages(tmp_path, ["consumer/0"])[0]
        )
        # One more: the consumer may stand between giving the credit back and saying so.
        assert unfinished <= 2 * CREDIT + 1, "no more than the credit is in flight"
        os.kill(consumer, signal.SIGCONT)
        moment = time.time()
        wait_for_more(tmp_path, 20)
        seconds = time.time() - moment
        assert cluster.num_restarts() == 0
    assert lost_by_events(events) == (0, 0)
    note = f"producers wait, {unfinished} elements in flight; then 20 more are through"
    Measure("consumer stands still", "consumer/0", recover_s=seconds, note=note).keep()
