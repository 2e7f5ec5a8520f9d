"""Runs over hosts that share nothing but a network and SSH, from the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actorrl.runtime import strays
from tests.cluster.sandboxes import Sandbox

PATIENCE_S = 100.0


def entry(address: str, *roles: str) -> dict[str, Any]:
    return {"host": address, "roles": list(roles)}


class Run:
    """`actorrl launch`, and what its status says meanwhile."""

    def __init__(self, folder: Path, hosts: Path, algo: str, *options: str) -> None:
        self.folder = folder / "results" / "run"
        self.log = folder / "output.log"
        command = [sys.executable, "-m", "actorrl", "launch", "--hosts", str(hosts), "--algo", algo]
        command += ["--env", "CartPole-v1", "--results", str(folder / "results"), "--name", "run"]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([*command, *options], stdout=log, stderr=log)

    def status(self) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.folder / "status.json").read_text()))
        except (OSError, ValueError):
            return None

    def actors(self) -> dict[str, dict[str, Any]]:
        status = self.status()
        return {row["name"]: row for row in status["actors"]} if status is not None else {}

    def wait(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None and time.monotonic() < end, self.log.read_text()
            time.sleep(0.1)

    def is_training(self) -> bool:
        status = self.status()
        return status is not None and status["timesteps_total"] > 0


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(hosts: Path, algo: str, *options: str) -> Run:
        runs.append(Run(tmp_path, hosts, algo, *options))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()


@pytest.mark.timeout(240)
def test_apex_trains_with_workers_and_shards_on_other_hosts(flat: Sandbox, tmp_path, launch):
    one, two = flat.addresses
    hosts = flat.cluster(
        tmp_path / "cluster.yml",
        entry("local", "learner"),
        entry(one, "rollout"),
        entry(two, "replay"),
    )
    run = launch(hosts, "APEX", "--workers", "2", "--stop", "timesteps_total=5000")
    run.wait(run.is_training)
    where = {name: row["host"] for name, row in run.actors().items()}
    assert where["rollout/0"] == where["rollout/1"] == one
    assert where["replay/0"] == two and where["learner/0"] == "local"
    status = run.status()
    assert status is not None
    assert run.process.wait(PATIENCE_S) == 0, run.log.read_text()
    assert strays.of_run(status["run_id"]) == []
    log = (run.folder / "logs" / "agent-local.log").read_text()
    assert "Traceback" not in log


@pytest.mark.timeout(240)
def test_a_lost_host_is_replaced_and_the_drivers_death_ends_all(flat: Sandbox, tmp_path, launch):
    one, two = flat.addresses
    hosts = flat.cluster(
        tmp_path / "cluster.yml",
        entry("local", "learner"),
        entry(one, "rollout"),
        entry(two, "rollout"),
    )
    hosts.write_text(hosts.read_text() + "failure: {lease_s: 5}\n")
    run = launch(hosts, "IMPALA", "--workers", "2", "--stop", "timesteps_total=100000000")
    run.wait(run.is_training)
    status = run.status()
    assert status is not None
    for pid in strays.of_run(status["run_id"], two):
        os.kill(pid, signal.SIGKILL)
    run.wait(lambda: run.actors()["rollout/1"]["incarnation"] == 2)
    run.wait(lambda: run.actors()["rollout/1"]["state"] == "ready")
    run.wait(lambda: run.actors()[f"agent/{two}"]["state"] == "up")
    run.process.kill()
    run.process.wait()
    end = time.monotonic() + PATIENCE_S
    while strays.of_run(status["run_id"]):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_where_nothing_but_ssh_gets_through_a_run_trains_all_the_same(
    far_away: Sandbox, tmp_path, launch
):
    (host,) = far_away.addresses
    hosts = far_away.cluster(
        tmp_path / "cluster.yml", entry("local", "learner"), entry(host, roles=["rollout"])
    )
    run = launch(hosts, "IMPALA", "--workers", "1", "--stop", "timesteps_total=3000")
    assert run.process.wait(PATIENCE_S) == 0, run.log.read_text()
    assert "an SSH forward carries" in run.log.read_text()
