"""Runs over sandbox hosts: started as a user does, and looked at from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from actorrl.runtime import strays
from tests.cluster.sandboxes import Sandbox
from tests.runtime.clusters import wait_until

PATIENCE_S = 150.0
COMMAND = [sys.executable, "-P", "-m", "actorrl"]


def entry(address: str, *roles: str, **keys: Any) -> dict[str, Any]:
    return {"host": address, "roles": list(roles), **keys}


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}


class Run:
    """`actorrl launch`, or another command that makes a run in FOLDER/results/run."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder = folder / "results" / "run"
        self.log = folder / "output.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                env=environment(),
            )  # fmt: skip

    @property
    def output(self) -> str:
        return self.log.read_text()

    def status(self) -> dict[str, Any]:
        """status.json as it is now; {} before it is written."""
        try:
            return dict(json.loads((self.folder / "status.json").read_text()))
        except (OSError, ValueError):
            return {}

    def actors(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.status().get("actors", [])}

    def hosts(self) -> dict[str, str]:
        return {name: row["host"] for name, row in self.actors().items()}

    def rows(self) -> list[dict[str, Any]]:
        return json_lines(self.folder / "result.json")

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [e for e in json_lines(self.folder / "events.jsonl") if e["kind"] == kind]

    def wait(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None and time.monotonic() < end, self.output
            time.sleep(0.1)

    def is_training(self) -> bool:
        return bool(self.status().get("timesteps_total", 0) > 0)

    def end(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self.process.wait(PATIENCE_S)


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines."""
    try:
        return [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    except OSError:
        return []


def launch_words(hosts: Path, algo: str, *options: str, env: str = "CartPole-v1") -> list[str]:
    words = ["launch", "--hosts", str(hosts), "--algo", algo, "--env", env]
    return [*COMMAND, *words, "--results", "results", "--name", "run", "--quiet", *options]


def counters(sandbox: Sandbox) -> list[int]:
    """Bytes that each host has sent, as the driver's end of its cable counts them."""
    paths = [
        Path("/sys/class/net", host.interfaces[0].outside, "statistics/rx_bytes")
        for host in sandbox.plan.hosts
    ]
    return [int(path.read_text()) for path in paths]


def processes(sandbox: Sandbox) -> list[str]:
    """Commands that run on the hosts, but for their SSH servers, what holds the namespaces, and
    processes that have ended and are not yet reaped."""
    found = []
    for host in sandbox.plan.hosts:
        for pid in pids_on(host.namespace):
            try:
                found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
            except OSError:
                continue
    holding = ("unshare ", "sshd: ")
    return [command for command in found if command and not command.startswith(holding)]


def pids_on(namespace: str) -> list[int]:
    said = subprocess.check_output(["ip", "netns", "pids", namespace], text=True)
    return [int(pid) for pid in said.split()]


def agent_and_connection(run_id: str, host: str) -> tuple[psutil.Process, psutil.Process]:
    """The agent's process, or what holds its lifeline in its place, and the SSH server's for that
    connection. By the pids of this machine: those that the run tells count in the host's own
    namespace."""
    for pid in strays.of_run(run_id, host):
        process = psutil.Process(pid)
        parent = process.parent()
        if parent is not None and re.match(r"sshd: \w+@", parent.cmdline()[0]):  # no listener
            return process, parent
    raise AssertionError("no process of the run is a child of an SSH server")


def is_clean(run: Run, sandbox: Sandbox) -> bool:
    """Nothing of it runs anywhere, and no process had an accident."""
    wait_until(lambda: processes(sandbox) == [])
    assert strays.of_run(run.status()["run_id"]) == []
    logs = (run.folder / "logs").glob("*.log")
    assert not any("Traceback" in log.read_text() for log in logs)
    return True
