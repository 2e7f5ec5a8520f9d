"""A run over several hosts: further agents of this machine that share nothing but TCP."""

from __future__ import annotations

import contextlib
import os
import signal
import socket as posix
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from actorrl.errors import HostError, RunFolderError
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.desk import ask
from actorrl.runtime.examples.counter import Counter
from actorrl.runtime.host_specs import (
    ClusterSpec,
    FailureSpec,
    HostSpec,
    NetworkSpec,
    ResourceSpec,
    RoleSpec,
)
from actorrl.runtime.launch import Prepared
from actorrl.runtime.launchers.loopback import LoopbackLauncher
from actorrl.runtime.program import Program, Report, Request, State, Stream
from actorrl.runtime.refs import DRIVER
from tests.faults.measures import Measure
from tests.runtime.clusters import QUICK, is_alive, left_of, rows, wait_until

PATIENCE_S = 60.0


def spec(*hosts: HostSpec, ports: tuple[int, int] = (43200, 43399), **failure) -> ClusterSpec:
    return ClusterSpec(
        hosts=hosts,
        network=NetworkSpec(ports=ports),
        failure=FailureSpec(**failure),
        roles={"worker": RoleSpec(place="spread")},
    )


HERE = HostSpec(name="local", roles=("learner",))
ONE = HostSpec(name="one", roles=("worker",))
TWO = HostSpec(name="two", roles=("worker",))


class Worker(Actor):
    """Sends what it has read, and who and where it is."""

    def on_start(self) -> None:
        self.seen: list[int] = []
        print("worker says hello", flush=True)

    def step(self) -> None:
        version, arrays = self.context.state("weights").read()
        if self.seen[-1:] != [version]:
            self.seen.append(version)
        obs = np.full(100_000, version % 251, np.uint8)
        self.context.stream("samples").send(
            {"version": version, "ok": bool((arrays["w"] == version).all())}, {"obs": obs}
        )

    def serve_ask(self, request) -> None:
        request.respond(f"{self.context.name}@{self.context.host}")

    @remote
    def versions(self) -> list[int]:
        return self.seen

    @remote
    def pid(self) -> int:
        return os.getpid()

    @remote
    def say(self, lines: int) -> None:
        print("\n".join(f"line {index}" for index in range(lines)), flush=True)


class Holder(Actor):
    """Holds what it was made with."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    @remote
    def total(self) -> int:
        return int(self.table.sum())


class Learner(Actor):
    def on_start(self) -> None:
        self.taken: dict[str, int] = {}
        self.answers: set[str] = set()
        self.wrong = 0
        self.version = self.began = self.context.publisher("weights").newest_version()
        self.context.every(0.02, self.publish)
        self.context.every(0.1, self.ask)

    def publish(self) -> None:
        self.version += 1
        self.context.publisher("weights").publish(
            self.version, {"w": np.full(50_000, self.version, np.float32)}
        )
        self.context.report("metrics").send({"version": self.version})

    def ask(self) -> None:
        for target in self.context.requests("ask").up():
            self.context.requests("ask").ask(target)

    def on_samples(self, item) -> None:
        right = item.body["ok"] and (item.arrays["obs"] == item.body["version"] % 251).all()
        self.wrong += not right
        self.taken[item.source] = self.taken.get(item.source, 0) + 1

    def on_ask(self, item) -> None:
        self.answers.add(item.body)

    @remote
    def look(self) -> dict:
        return {
            "taken": self.taken,
            "wrong": self.wrong,
            "answers": sorted(self.answers),
            "began": self.began,
        }

    @remote
    def pid(self) -> int:
        return os.getpid()


def program(workers: int = 4) -> Program:
    program = Program("several")
    learner = program.add("learner", Learner)
    group = program.add_group("worker", Worker, count=workers)
    program.link("samples", Stream(2), group, learner)
    program.link("ask", Request(1), learner, group)
    program.link("weights", State(), learner, group)
    program.link("metrics", Report(), learner, DRIVER)
    return program


def cluster_over(hosts: ClusterSpec, folder: Path, workers: int = 4, **options) -> Cluster:
    launch = options.pop("launch", LoopbackLauncher(folder / "hosts"))
    return Cluster(program(workers), hosts, launch=launch, policy=QUICK, log_dir=folder, **options)


def taken(cluster: Cluster) -> dict[str, int]:
    return cluster.ref("learner/0").look.call().result()["taken"]


def everybody_is_heard(cluster: Cluster, more_than: dict[str, int], workers: int = 4) -> bool:
    cluster.poll(0.01)
    now = taken(cluster)
    return all(
        now.get(f"worker/{i}", 0) > more_than.get(f"worker/{i}", 0) + 3 for i in range(workers)
    )


def test_an_actor_elsewhere_may_be_made_with_much(tmp_path):
    nbytes = 3_000_000  # more than a frame between hosts may have
    program = Program("much")
    program.add("worker", Holder, np.ones(nbytes, np.uint8))
    launch = LoopbackLauncher(tmp_path)
    with Cluster(program, spec(HERE, ONE), launch=launch) as cluster:
        assert cluster.ref("worker/0").total.call().result() == nbytes


def test_actors_of_several_hosts_work_together(tmp_path, run_id):
    """Of the actors only the learner listens: the range has a port for it, for the driver's three
    listeners and for the three agents, which here are of one machine."""
    reports: list = []
    first = 24_000 + os.getpid() % 900 * 8
    cluster = cluster_over(
        spec(HERE, ONE, TWO, ports=(first, first + 6)),
        tmp_path,
        run_id=run_id,
        on_report=lambda link, source, body: reports.append(body["version"]),
    )
    with cluster:
        wait_until(lambda: everybody_is_heard(cluster, {}), PATIENCE_S)
        hosts = {name: row["host"] for name, row in rows(cluster).items()}
        assert hosts["learner/0"] == "local"
        assert sorted(hosts[f"worker/{i}"] for i in range(4)) == ["one", "one", "two", "two"]
        look = cluster.ref("learner/0").look
        everybody = sorted(f"worker/{i}@{hosts[f'worker/{i}']}" for i in range(4))
        wait_until(lambda: look.call().result()["answers"] == everybody, PATIENCE_S)
        assert look.call().result()["wrong"] == 0
        seen = cluster.ref("worker/0").versions
        wait_until(lambda: len(seen.call().result()) > 3, PATIENCE_S)
        versions = seen.call().result()
        assert versions == sorted(versions)
        weights = cluster.block_reader("weights")
        version, arrays = weights.read()
        assert version > 0 and (arrays["w"] == version).all() and reports
        roles = {"agent", "driver", "learner", "worker"}
        wait_until(lambda: cluster.traffic().keys() >= roles, PATIENCE_S)
        # every process says now and then what it has counted: the first time it may be little
        least = {"agent": 50_000 * 4, "worker": 100_000}  # of weights, and observations
        wait_until(
            lambda: all(cluster.traffic()[role]["bytes_raw"] > n for role, n in least.items()),
            PATIENCE_S,
        )
        traffic = cluster.traffic()
        assert traffic["agent"]["bytes_wire"] > 50_000 * 4  # weights are not compressed
        assert traffic["learner"]["bytes_wire_in"] > traffic["agent"]["refused_handshakes"] == 0
    assert left_of(run_id) == []


def test_ports_that_others_have_taken_are_passed_over(tmp_path, run_id):
    with contextlib.ExitStack() as stack:
        for port in (43200, 43201, 43203):
            taken = stack.enter_context(posix.socket())
            with contextlib.suppress(OSError):  # by somebody else: all the better
                taken.bind(("127.0.0.1", port))
                taken.listen()
        begun = time.monotonic()
        with cluster_over(spec(HERE, ONE), tmp_path, 1, run_id=run_id) as cluster:
            wait_until(lambda: everybody_is_heard(cluster, {}, 1), PATIENCE_S)
            seconds = time.monotonic() - begun
    note = "seconds from nothing to samples of the other host, three ports of the range taken"
    Measure("port taken", "all", recover_s=seconds, note=note).keep()


def test_an_actor_without_links_is_called_from_the_first_moment_on(tmp_path, run_id):
    """It has to come to the driver, which meanwhile waits for answers alone."""
    program = Program("lonely")
    program.add("worker", Counter)
    launch = LoopbackLauncher(tmp_path / "hosts")
    with Cluster(program, spec(ONE), launch=launch, log_dir=tmp_path, run_id=run_id) as cluster:
        assert cluster.ref("worker/0").add.within(PATIENCE_S).call(2).result() == 2
    assert left_of(run_id) == []


def test_a_lost_host_is_left_out_its_actors_go_on_elsewhere_and_it_comes_back(tmp_path, run_id):
    events: list[dict] = []
    cluster = cluster_over(spec(HERE, ONE, TWO), tmp_path, run_id=run_id, on_event=events.append)
    with cluster:
        wait_until(lambda: everybody_is_heard(cluster, {}), PATIENCE_S)
        before = rows(cluster)
        os.kill(before["agent/two"]["pid"], signal.SIGKILL)
        wait_until(lambda: rows(cluster)["agent/two"]["incarnation"] == 2, PATIENCE_S)
        so_far = taken(cluster)
        wait_until(lambda: everybody_is_heard(cluster, so_far), PATIENCE_S)
        now = rows(cluster)
        for name in ("learner/0", "agent/one", "agent/local"):
            assert now[name]["pid"] == before[name]["pid"] and now[name]["restarts"] == 0
        moved = [f"worker/{i}" for i in range(4) if before[f"worker/{i}"]["host"] == "two"]
        assert all(now[name]["incarnation"] == 2 for name in moved)
        assert all(not is_alive(before[name]["pid"]) for name in moved)
        wait_until(lambda: rows(cluster)["agent/two"]["state"] == "up", PATIENCE_S)
        assert {rows(cluster)[f"worker/{i}"]["host"] for i in range(4)} == {"one"}
        os.kill(before["agent/one"]["pid"], signal.SIGKILL)  # the one that came back takes them
        wait_until(lambda: rows(cluster)["worker/3"]["incarnation"] == 3, PATIENCE_S)
        so_far = taken(cluster)
        wait_until(lambda: everybody_is_heard(cluster, so_far), PATIENCE_S)
        assert {rows(cluster)[f"worker/{i}"]["host"] for i in range(4)} == {"two"}
        assert cluster.ref("learner/0").look.call().result()["wrong"] == 0
        assert [row["losses"] for row in cluster.hosts()] == [0, 1, 1]
    lost, _ = [event for event in events if event["event"] == "host_lost"]
    assert lost["host"] == "two" and "SIGKILL" in lost["reason"]
    told = [event["event"] for event in events if event.get("host") == "two"]
    assert told.index("host_up") < told.index("host_lost") < told.index("host_rejoined")
    assert left_of(run_id) == []


def test_the_loss_of_the_writers_own_host_ends_nothing(tmp_path, run_id):
    """The learner's agent dies; on a host that has never read them the weights go on from where
    their readers are."""
    hosts = spec(
        HostSpec(name="local", roles=("none",)),
        HostSpec(name="one", roles=("learner",)),
        HostSpec(name="two", roles=("learner",)),
        HostSpec(name="three", roles=("worker",)),
    )
    cluster = cluster_over(hosts, tmp_path, workers=2, run_id=run_id)
    with cluster:
        wait_until(lambda: everybody_is_heard(cluster, {}, workers=2), PATIENCE_S)
        weights = cluster.block_reader("weights")
        wait_until(lambda: weights.version > 10, PATIENCE_S)
        seen = weights.version
        home = rows(cluster)["learner/0"]["host"]
        os.kill(rows(cluster)[f"agent/{home}"]["pid"], signal.SIGKILL)
        wait_until(lambda: rows(cluster)["learner/0"]["incarnation"] == 2, PATIENCE_S)
        wait_until(lambda: everybody_is_heard(cluster, {}, workers=2), PATIENCE_S)
        assert rows(cluster)["learner/0"]["host"] != home
        looked = cluster.ref("learner/0").look.call().result()
        assert looked["wrong"] == 0 and looked["began"] >= seen
        wait_until(lambda: weights.version > looked["began"], PATIENCE_S)
    assert left_of(run_id) == []


class OnlyOnce(LoopbackLauncher):
    """A host that was lost is not to be had again."""

    def prepare(self, host: HostSpec, run_id: str) -> Prepared:
        if (self.folder / host.name).exists():
            raise HostError(f"{host.name}: no route to host")
        return super().prepare(host, run_id)


class Slow(Actor):
    """Has not answered yet."""

    def on_start(self) -> None:
        self.requests: list = []

    def serve_ask(self, request) -> None:
        self.requests.append(request)


class Patient(Actor):
    """Asks each once, and waits for the answers."""

    def on_start(self) -> None:
        self.lost: list[str] = []
        self.unasked = set(self.context.requests("ask").targets)
        self.context.every(0.05, self.ask)

    def ask(self) -> None:
        for target in sorted(self.unasked):
            if self.context.requests("ask").ask(target):
                self.unasked.remove(target)

    def on_ask(self, item) -> None:
        raise AssertionError("nobody answers")

    def lost_ask(self, target: str, number: int) -> None:
        self.lost += [target] * number

    @remote
    def look(self) -> tuple[list[str], list[str]]:
        return sorted(self.unasked), sorted(self.lost)


def test_who_waits_hears_of_a_lost_host_whose_actors_fit_nowhere_else(tmp_path, run_id):
    program = Program("patience")
    patient, slow = program.add("learner", Patient), program.add_group("worker", Slow, count=4)
    program.link("ask", Request(1), patient, slow)
    one, two = (
        msgspec.structs.replace(host, resources=ResourceSpec(mem=2 * 2**30)) for host in (ONE, TWO)
    )
    roles = {"worker": RoleSpec(place="spread", mem=2**30)}
    hosts = msgspec.structs.replace(spec(HERE, one, two), roles=roles)
    launch = OnlyOnce(tmp_path / "hosts")
    with Cluster(program, hosts, launch=launch, policy=QUICK, run_id=run_id) as cluster:
        look = cluster.ref("learner/0").look
        wait_until(lambda: look.call().result() == ([], []), PATIENCE_S)
        before = rows(cluster)
        gone = [f"worker/{i}" for i in range(4) if before[f"worker/{i}"]["host"] == "two"]
        os.kill(before["agent/two"]["pid"], signal.SIGKILL)
        wait_until(lambda: look.call().result() == ([], gone), 20.0)


class Unwilling(LoopbackLauncher):
    """Cannot make one of the hosts ready."""

    def prepare(self, host: HostSpec, run_id: str) -> Prepared:
        if host.name == "two":
            raise HostError("two: no route to host\n  check its address")
        return super().prepare(host, run_id)


def test_a_required_host_that_cannot_be_had_ends_the_start_with_its_reason(tmp_path, run_id):
    launch = Unwilling(tmp_path / "hosts")
    cluster = cluster_over(spec(HERE, ONE, TWO), tmp_path, run_id=run_id, launch=launch)
    with pytest.raises(HostError, match="two: no route to host"):
        cluster.start()
    assert not list((tmp_path / "hosts").glob("*/worker-*"))  # no actor was started anywhere
    assert left_of(run_id) == []


def test_without_a_host_that_is_not_required_the_run_starts(tmp_path, run_id):
    events: list[dict] = []
    optional = HostSpec(name="two", roles=("worker",), required=False)
    with cluster_over(
        spec(HERE, ONE, optional),
        tmp_path,
        run_id=run_id,
        launch=Unwilling(tmp_path / "hosts"),
        on_event=events.append,
    ) as cluster:
        wait_until(lambda: everybody_is_heard(cluster, {}), PATIENCE_S)
        assert {rows(cluster)[f"worker/{i}"]["host"] for i in range(4)} == {"one"}
        assert "no route" in rows(cluster)["agent/two"]["last_error"]
    assert any(event["event"] == "host_lost" and event["host"] == "two" for event in events)


def test_fewer_hosts_than_min_hosts_do_not_start(tmp_path, run_id):
    optional = HostSpec(name="two", roles=("worker",), required=False)
    cluster = cluster_over(
        spec(HERE, ONE, optional, min_hosts=3),
        tmp_path,
        run_id=run_id,
        launch=Unwilling(tmp_path / "hosts"),
    )
    with pytest.raises(HostError, match=r"(?s)2 hosts are up and failure.min_hosts is 3.*two: coo"):
        cluster.start()


def test_an_agent_that_stands_still_is_suspect_then_lost_and_its_actors_are_fenced(
    tmp_path, run_id
):
    events: list[dict] = []
    hosts = spec(HERE, ONE, TWO, node_timeout_s=6.0)
    with cluster_over(hosts, tmp_path, run_id=run_id, on_event=events.append) as cluster:
        wait_until(lambda: everybody_is_heard(cluster, {}), PATIENCE_S)
        before = rows(cluster)
        agent = before["agent/two"]["pid"]
        os.kill(agent, signal.SIGSTOP)
        wait_until(lambda: rows(cluster)["agent/two"]["state"] == "suspect", PATIENCE_S)
        os.kill(agent, signal.SIGCONT)
        wait_until(lambda: rows(cluster)["agent/two"]["state"] == "up", PATIENCE_S)
        assert cluster.num_restarts() == 0 and rows(cluster)["agent/two"]["pid"] == agent
        os.kill(agent, signal.SIGSTOP)
        wait_until(lambda: rows(cluster)["agent/two"]["state"] == "cooling", PATIENCE_S)
        so_far = taken(cluster)
        wait_until(lambda: everybody_is_heard(cluster, so_far), PATIENCE_S)
        wait_until(lambda: not is_alive(agent), PATIENCE_S)
    kinds = [event["event"] for event in events if event.get("host") == "two"]
    assert kinds.index("host_suspect") < kinds.index("host_recovered") < kinds.index("host_lost")
    assert left_of(run_id) == []


def test_the_command_line_sees_actors_of_other_hosts_as_its_own(tmp_path, run_id):
    with cluster_over(spec(HERE, ONE), tmp_path, workers=1, run_id=run_id) as cluster:
        wait_until(lambda: everybody_is_heard(cluster, {}, workers=1), PATIENCE_S)
        pid = cluster.ref("worker/0").pid.call().result()
        stack = ask(run_id, {"ask": "stack", "actor": "worker/0"})["text"]
        assert "worker/0: its threads" in stack and "mailbox.py" in stack
        with pytest.raises(RunFolderError, match="there are learner/0, worker/0"):
            ask(run_id, {"ask": "stack", "actor": "worker/7"})

        def is_complete() -> bool:
            seen = ask(run_id, {"ask": "top"})
            (worker,) = [actor for actor in seen["actors"] if actor["name"] == "worker/0"]
            assert (worker["pid"], worker["host"]) == (pid, "one")
            hosts = {host["host"]: host for host in seen["hosts"]}
            return worker["rss_bytes"] > 0 and all(hosts[h]["memory"] for h in ("local", "one"))

        wait_until(is_complete, PATIENCE_S)


def test_what_actors_of_other_hosts_write_comes_in_part_and_is_whole_there(tmp_path, run_id):
    with cluster_over(spec(HERE, ONE), tmp_path, workers=1, run_id=run_id) as cluster:
        log = tmp_path / "worker-0.log"
        wait_until(lambda: log.exists() and "worker says hello" in log.read_text(), PATIENCE_S)
        cluster.ref("worker/0").say.call(5000).result()
        wait_until(lambda: "lines not shown here" in log.read_text(), PATIENCE_S)
        lines = log.read_text().splitlines()
        assert all(line.startswith("[worker-0@one] ") for line in lines)
        whole = (tmp_path / "hosts" / "one" / "worker-0.log").read_text()
        assert whole.count("line ") == 5000 and len(lines) < 1000


def test_a_broken_lifeline_alone_ends_nothing_while_beats_come(tmp_path, run_id):
    events: list[dict] = []
    launch = LoopbackLauncher(tmp_path / "hosts")
    with cluster_over(
        spec(HERE, ONE, lease_s=2.0), tmp_path, run_id=run_id, launch=launch, on_event=events.append
    ) as cluster:
        wait_until(lambda: everybody_is_heard(cluster, {}), PATIENCE_S)
        cluster._service.fleet.agents["one"].process._process.stdin.close()
        end = time.monotonic() + 4.0
        wait_until(lambda: time.monotonic() > end)
        so_far = taken(cluster)
        wait_until(lambda: everybody_is_heard(cluster, so_far), PATIENCE_S)
        assert cluster.num_restarts() == 0
    assert not [event for event in events if event["event"] == "host_lost"]
