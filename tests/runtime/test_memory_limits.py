"""Who takes more memory than it may is ended by its agent, and that is told with both numbers; whom
the kernel kills for want of memory is told as such."""

from __future__ import annotations

import contextlib
import os
import re
import socket as posix
import tempfile
import threading
import time
from pathlib import Path

import pytest

from actorrl.errors import PlacementError, RunFailed
from actorrl.runtime import memory_limits
from actorrl.runtime.actor import remote
from actorrl.runtime.fleet import Fleet
from actorrl.runtime.host_specs import LOCAL, ClusterSpec, HostSpec, ResourceSpec, RoleSpec
from actorrl.runtime.inventory import memory_bytes
from actorrl.runtime.memory_limits import check_said, driver_limit, memory_limit, memory_of
from actorrl.runtime.placement import Host
from actorrl.runtime.program import Program
from actorrl.runtime.slots import Policy
from tests.control_groups import little_memory
from tests.faults.measures import of_events
from tests.runtime.clusters import Worker, cluster_of, left_of, rows, wait_until, wait_until_back

GB = 10**9
MB = 10**6
ROOM = 200 * MB  # in place of LIBRARIES_BYTES
PATIENCE_S = 60.0
TOLD = r"ended at its memory limit: it held \d+ MiB, and 2\d\d MiB are allowed"

KILLED = r"killed by the kernel: out of memory; it held \d+ MiB when last looked at"


def limit(said: int = 0, because: str = "", role: int | None = None, host: int | None = GB) -> int:
    program = Program("p")
    program.add("eater", Worker)
    program.require("eater", mem=said, because=because)
    return memory_limit(program.nodes["eater/0"], RoleSpec(mem=role), Host("x", 2, host))


def test_the_limit_is_what_was_said_and_room_for_libraries_else_the_hosts():
    assert limit(said=2 * GB) == 2 * GB + ROOM
    assert limit(said=2 * GB, role=3 * GB) == 3 * GB + ROOM
    assert limit() == GB
    assert limit(said=2 * GB, because="an estimate") == GB
    assert limit(host=None) == 0


def test_the_driver_may_have_what_actors_may_or_what_is_said():
    more, less = (HostSpec(name=LOCAL, resources=ResourceSpec(mem=n * GB)) for n in (3, 1))
    limits = [driver_limit(Host("x", 2, 2 * GB), spec) for spec in (HostSpec(name=LOCAL), more)]
    assert limits == [1.6 * GB, 3 * GB]
    assert driver_limit(Host("x", 2, 2 * GB), less) == 1.6 * GB, "less is meant for its actors"


def test_less_than_what_is_needed_is_refused_with_the_arithmetic():
    check_said("replay", RoleSpec(), 100 * GB, "")
    check_said("replay", RoleSpec(mem=8 * GB), 8 * GB, "")
    with pytest.raises(PlacementError, match=r"^roles\.replay\.mem: 8 GB, .*needs 9 GB \(3 x 3\)"):
        check_said("replay", RoleSpec(mem=8 * GB), 9 * GB, "3 x 3")


def test_a_container_has_the_memory_that_it_was_given(tmp_path):
    limits = {"max": "max\n", "unlimited": "9223372036854771712\n", "small": "1000000000\n"}
    for name, text in limits.items():
        (tmp_path / name).write_text(text)
    paths = [str(tmp_path / name) for name in (*limits, "absent")]
    assert memory_bytes(paths) == GB
    assert GB < memory_bytes(paths[:2]) == memory_bytes([]) < 10**15


@pytest.fixture(autouse=True)
def small_libraries(monkeypatch):
    """So that a few hundred megabytes are too much."""
    monkeypatch.setattr(memory_limits, "LIBRARIES_BYTES", ROOM)


class Eater(Worker):
    @remote
    def eat(self, nbytes: int) -> None:
        self.eaten = b"x" * nbytes

    @remote
    def grow(self, nbytes: int, at_once: int) -> None:
        """Slowly enough for the agent to see it."""
        self.eaten = bytearray()
        for _ in range(nbytes // at_once):
            self.eaten += b"x" * at_once
            time.sleep(0.1)


def test_an_actor_that_eats_memory_is_ended_and_started_again_and_the_others_never_noticed():
    events: list[dict] = []
    with cluster_of(2, Eater, mem=10 * MB, on_event=events.append) as cluster:
        eater, other = cluster.ref("worker/0"), cluster.ref("worker/1")
        pids = [ref.pid.call().result() for ref in (eater, other)]
        other.eat.call(100 * MB).result()  # which is within its limit
        moment = time.time()
        eater.eat.tell(400 * MB)
        wait_until_back(cluster, seconds=PATIENCE_S)
        assert eater.pid.call().result() != pids[0] and other.pid.call().result() == pids[1]
        of_events("out of memory: its limit", "worker/0", moment, events).keep()
        (ended,) = [event for event in events if event["event"] == "actor_exited"]
        assert ended["actor"] == "worker/0" and ended["rss_bytes"] > 210 * MB
        assert re.match(TOLD, ended["reason"])
        assert rows(cluster)["worker/0"]["last_error"] == ended["reason"]


def test_one_that_always_does_it_ends_the_run_with_the_numbers_and_where_they_are_set():
    spec = ClusterSpec(hosts=(HostSpec(name=LOCAL),), roles={"worker": RoleSpec(mem=10 * MB)})
    cluster = cluster_of(1, Eater, policy=Policy(max_restarts=0), spec=spec)
    with pytest.raises(RunFailed, match=TOLD) as failed, cluster:
        cluster.ref("worker/0").eat.tell(400 * MB)
        wait_until(lambda: bool(cluster.check()), PATIENCE_S)
    assert "roles.worker.mem" in str(failed.value)


def test_whom_the_kernel_kills_for_want_of_memory_is_told_so_and_the_others_never_noticed(run_id):
    events: list[dict] = []
    with (
        cluster_of(2, Eater, on_event=events.append) as cluster,
        little_memory(f"actorrl-test-{run_id}", 200 * MB) as members,
    ):
        eater, other = cluster.ref("worker/0"), cluster.ref("worker/1")
        pids = [ref.pid.call().result() for ref in (eater, other)]
        members.write_text(str(pids[0]))
        moment = time.time()
        eater.grow.tell(400 * MB, 20 * MB)
        wait_until_back(cluster, seconds=PATIENCE_S)
        assert eater.pid.call().result() != pids[0] and other.pid.call().result() == pids[1]
        note = "from the first 20 of 200 MB on, 20 every 0.1 s"
        of_events("out of memory: the kernel", "worker/0", moment, events, note).keep()
        (ended,) = [event for event in events if event["event"] == "actor_exited"]
        assert ended["actor"] == "worker/0" and ended["rss_bytes"] > 60 * MB
        assert re.fullmatch(KILLED, ended["reason"])
        assert rows(cluster)["worker/0"]["last_error"] == ended["reason"]


# What ZeroMQ sends first (ZMTP 3.0, no encryption: a socket in the file system), and the beginning
# of a part of 1 MB that is not the last. A socket of ZeroMQ itself keeps back what is not complete.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
PROPERTIES = b"\x0bSocket-Type\x00\x00\x00\x06DEALER"
READY = b"\x04" + bytes([6 + len(PROPERTIES)]) + b"\x05READY" + PROPERTIES
PART = b"\x03" + MB.to_bytes(8, "big") + bytes(MB)


def send_endless_parts(run_id: str, name: str) -> None:
    """To a socket of a run, until whoever has it hangs up."""
    folder = next(Path(tempfile.gettempdir()).glob(f"actorrl-*/{run_id}"))
    with posix.socket(posix.AF_UNIX) as line:
        line.settimeout(PATIENCE_S)
        line.connect(str(folder / name))
        line.sendall(GREETING + READY)
        with contextlib.suppress(ConnectionError):
            for _ in range(5000):
                line.sendall(PART)


def test_endless_parts_end_the_receiver_and_not_its_host(run_id):
    """ZeroMQ hands a message over when its last part has come, and limits no number of parts. Who
    can do this is the user, or an actor of the same run: others do not come to the socket."""
    events: list[dict] = []
    with cluster_of(2, mem=10 * MB, on_event=events.append, run_id=run_id) as cluster:
        other = cluster.ref("worker/1")
        send_endless_parts(run_id, "worker-0.1")
        wait_until_back(cluster, seconds=PATIENCE_S)
        assert other.add.call().result() == 1
        assert cluster.ref("worker/0").add.call().result() == 1
        (ended,) = [event for event in events if event["event"] == "actor_exited"]
        assert re.match(TOLD, ended["reason"])


def test_endless_parts_end_the_agent_and_its_successor_starts_its_actors_again(run_id):
    spec = ClusterSpec(hosts=(HostSpec(name=LOCAL, resources=ResourceSpec(mem=220 * MB)),))
    events: list[dict] = []
    with cluster_of(1, on_event=events.append, run_id=run_id, spec=spec) as cluster:
        send_endless_parts(run_id, "agent")
        wait_until_back(cluster, seconds=PATIENCE_S)
        assert cluster.ref("worker/0").add.call().result() == 1
        (lost,) = [event for event in events if event["event"] == "host_lost"]
        assert re.search(TOLD, lost["reason"])


@pytest.mark.parametrize("name", ["driver", "driver.ctl"])
def test_endless_parts_to_the_driver_end_its_run_with_that_cause(name, run_id, monkeypatch):
    usable = memory_of(os.getpid())[1] + 220 * MB
    monkeypatch.setattr(Fleet, "driver_memory_limit", usable)
    cluster = cluster_of(1, run_id=run_id)
    sender = threading.Thread(target=send_endless_parts, args=(run_id, name))
    with pytest.raises(RunFailed, match=r"driver was ended at its memory limit: it held"), cluster:
        sender.start()
        wait_until(lambda: bool(cluster.check()), PATIENCE_S)
    sender.join()  # its line was cut
    assert left_of(run_id) == []
