"""Whole runs over sandbox hosts, from the command line as a user starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.sandboxes import Sandbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
LIMIT_S = 300


def launch(hosts: Path, folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "actorrl", "launch", "--hosts", str(hosts), "--quiet"]
    where = ["--results", str(folder), "--name", "run", "--env", "CartPole-v1"]
    return subprocess.Popen(
        [*command, *where, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=hosts.parent, env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))},
    )  # fmt: skip


def status(folder: Path) -> dict[str, Any]:
    """Of the run in mid-run."""
    for _ in range(LIMIT_S * 2):
        try:
            found = json.loads((folder / "run" / "status.json").read_text())
            if found["timesteps_total"] > 0:
                return found
        except (OSError, ValueError):
            pass
        time.sleep(0.5)
    raise AssertionError("the run has not begun")


def received_bytes(sandbox: Sandbox) -> list[int]:
    """By each host, as its end of the bridge counts what comes from it."""
    return [
        int(Path("/sys/class/net", host.interfaces[0].outside, "statistics/rx_bytes").read_text())
        for host in sandbox.plan.hosts
    ]


def processes(sandbox: Sandbox) -> list[str]:
    """Commands that run on the hosts, but for their SSH servers and what holds the namespaces."""
    found = []
    for host in sandbox.plan.hosts:
        pids = subprocess.check_output(["ip", "netns", "pids", host.namespace], text=True).split()
        for pid in pids:
            try:
                found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    return [command for command in found if not command.startswith(("unshare ", "sshd: "))]


@pytest.mark.parametrize("algo", ["APEX", "IMPALA", "A3C"])
def test_a_run_trains_over_hosts_and_leaves_nothing(flat, tmp_path, algo):
    first, second = flat.addresses
    entries = (
        {"host": "local", "roles": ["learner"]},
        {"host": first, "roles": ["rollout"]},
        {"host": second, "roles": ["rollout", "replay"]},
    )
    (tmp_path / "project").mkdir()
    hosts = flat.cluster(tmp_path / "project" / "cluster.yml", *entries)
    before = received_bytes(flat)
    run = launch(hosts, tmp_path / "results", "--algo", algo, "--workers", "2",
                 "--stop", "timesteps_total=4000")  # fmt: skip
    try:
        actors = status(tmp_path / "results")["actors"]
        output, _ = run.communicate(timeout=LIMIT_S)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, output
    assert {a["host"] for a in actors if a["role"] == "rollout"} == {first, second}
    assert {a["host"] for a in actors if a["role"] == "learner"} <= {"local"}
    assert {a["host"] for a in actors if a["role"] == "agent"} >= {first, second}
    sent = [after - then for after, then in zip(received_bytes(flat), before, strict=True)]
    assert all(num_bytes > 100_000 for num_bytes in sent)
    assert processes(flat) == []


def test_a_host_without_any_way_but_ssh_trains_by_forwards(far_away, tmp_path):
    entries = (
        {"host": "local", "roles": ["learner"]},
        {"host": far_away.addresses[0], "roles": ["rollout"]},
    )
    (tmp_path / "project").mkdir()
    hosts = far_away.cluster(tmp_path / "project" / "cluster.yml", *entries)
    run = launch(hosts, tmp_path / "results", "--algo", "IMPALA", "--workers", "1",
                 "--stop", "timesteps_total=2000")  # fmt: skip
    try:
        output, _ = run.communicate(timeout=LIMIT_S)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == 0, output
    assert "cannot connect to the driver: an SSH forward carries" in output
    assert processes(far_away) == []
