"""Hosts whose link goes down for a while, and one that never comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.sandbox import network
from cluster.sandbox.plan import Machine
from tests.cluster import sandboxes
from tests.cluster.sandboxes import Sandbox
from tests.faults.harness import FaultyRun, faulty_run
from tests.faults.measures import Measure

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]
WORDS = ["--algo", "IMPALA", "--env", "CartPole-v1", "--workers", "2", "--seed", "3"]
WORDS += ["--stop", "timesteps_total=1e9", "--set", "min_time_s_per_iteration=0.2"]
SOME = 100_000  # bytes: several fragments


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory) -> Iterator[Sandbox]:
    """Two hosts."""
    reason = network.why_not()
    if reason:
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("sandbox")
    try:
        yield sandboxes.up(directory, 2)
    finally:
        sandboxes.down(directory)


@pytest.fixture(scope="module")
def run(sandbox: Sandbox, tmp_path_factory) -> Iterator[FaultyRun]:
    """The learner here, a worker on each host."""
    home = tmp_path_factory.mktemp("home")
    (home / "project").mkdir()
    workers = [{"host": address, "roles": ["rollout"]} for address in sandbox.addresses]
    local = {"host": "local", "roles": ["learner"]}
    hosts = sandbox.cluster(home / "project" / "cluster.yml", local, *workers)
    with faulty_run("--hosts", str(hosts), *WORDS, home=home) as run:
        run.settle()
        yield run


def set_link(host: Machine, state: str) -> None:
    """The driver's end of a host's cable."""
    subprocess.run(["ip", "link", "set", host.interfaces[0].outside, state], check=True)


def received_bytes(host: Machine) -> int:
    """From that host."""
    counter = Path("/sys/class/net", host.interfaces[0].outside, "statistics/rx_bytes")
    return int(counter.read_text())


def worker_on(run: FaultyRun, host: Machine) -> str:
    [name] = [
        name
        for name, row in run.actors().items()
        if row["role"] == "rollout" and row["host"] == host.address
    ]
    return name


def event_after(run: FaultyRun, kind: str, moment: float, **details: str) -> float | None:
    """Seconds from the moment to the first such event."""
    for event in run.event_list(kind):
        if event["time"] >= moment and details.items() <= event.items():
            return float(event["time"]) - moment
    return None


def test_a_link_that_is_down_for_5_seconds_ends_nobody(sandbox, run):
    host = sandbox.plan.hosts[1]
    before, moment = run.actors(), time.time()
    set_link(host, "down")
    try:
        time.sleep(5)  # the fault itself
    finally:
        set_link(host, "up")
    healed = time.time()
    received = received_bytes(host)
    run.wait_for(lambda: received_bytes(host) > received + SOME)
    measure = Measure("link down 5 s", host.name)
    measure.detect_s = event_after(run, "host_suspect", moment, host=host.address)
    measure.recover_s = time.time() - healed
    measure.lost = run.lost_since(moment)
    measure.note = "detect: suspect; learns: samples come again after the link is up"
    measure.keep()
    run.wait_until_it_learns()
    pids = {name: row["pid"] for name, row in run.actors().items()}
    assert pids == {name: row["pid"] for name, row in before.items()}
    assert run.broken_invariants() == []


def test_after_30_seconds_its_actors_are_elsewhere_and_it_comes_back(sandbox, run):
    host = sandbox.plan.hosts[1]
    worker = worker_on(run, host)
    moment = time.time()
    set_link(host, "down")
    try:
        measure = lost_host(run, host, worker, moment, "link down 30 s")
        time.sleep(max(0.0, moment + 30 - time.time()))  # the fault itself
    finally:
        set_link(host, "up")
    healed = time.time()
    run.wait_for(lambda: run.actors()[f"agent/{host.address}"]["state"] == "up")
    measure.note = f"host up again {time.time() - healed:.1f} s after its link"
    measure.keep()
    run.wait_for(lambda: started_before(run, host, moment) == [])  # fenced, and ended
    assert run.broken_invariants() == []


def test_a_host_without_power_is_done_without(sandbox, run):
    host = sandbox.plan.hosts[0]
    busy = [name for name, row in run.actors().items() if row["host"] == host.address]
    worker = next(name for name in busy if name.startswith("rollout"))
    moment = time.time()
    set_link(host, "down")  # first, so that nobody hears of the rest
    for pid in pids_in(host):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    lost_host(run, host, worker, moment, "host lost for good").keep()
    assert run.broken_invariants() == []


def lost_host(run: FaultyRun, host: Machine, worker: str, moment: float, fault: str) -> Measure:
    """Until the worker samples elsewhere."""
    incarnation = run.actors()[worker]["incarnation"]
    measure = Measure(fault, host.name)
    run.wait_for(lambda: run.actors()[worker]["incarnation"] > incarnation)
    run.wait_for(run.actors_ready)
    assert run.actors()[worker]["host"] != host.address
    measure.detect_s = event_after(run, "host_lost", moment, host=host.address)
    measure.ready_s = event_after(run, "actor_ready", moment, actor=worker)
    run.wait_until_it_learns()
    measure.recover_s = time.time() - moment
    measure.lost = run.lost_since(moment)
    return measure


def pids_in(host: Machine) -> list[int]:
    listed = subprocess.check_output(["ip", "netns", "pids", host.namespace], text=True)
    return [int(pid) for pid in listed.split()]


def started_before(run: FaultyRun, host: Machine, moment: float) -> list[int]:
    """Processes of the run on that host that are older."""
    found = []
    for pid in pids_in(host):
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            mine = process.environ().get("ACTORRL_RUN_ID") == run.run_id()
            if mine and process.create_time() < moment:
                found.append(pid)
    return found
