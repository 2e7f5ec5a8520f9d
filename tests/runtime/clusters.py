"""Small actors and helpers for tests with processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actorrl.runtime import strays
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.cluster import Cluster
from actorrl.runtime.program import Program
from actorrl.runtime.slots import Policy

PATIENCE_S = 20.0
QUICK = Policy(backoff_s=0.05)
SLEEPER = [sys.executable, "-c", "import time; time.sleep(1000)"]


class Worker(Actor):
    """Counts, dies in any way it is asked to, and starts a process of its own."""

    def __init__(self) -> None:
        self.total = 0

    @remote
    def add(self, number: int = 1) -> int:
        self.total += number
        return self.total

    @remote
    def pid(self) -> int:
        return os.getpid()

    @remote
    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    @remote
    def modules(self, *names: str) -> list[str]:
        return [name for name in names if name in sys.modules]

    @remote
    def sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    @remote
    def wait_for(self, path: str) -> None:
        while not os.path.exists(path):
            time.sleep(0.01)

    @remote
    def compute_until(self, path: str) -> None:
        """Python code that never waits for anything."""
        while not os.path.exists(path):
            pass

    @remote
    def hold_the_gil(self, size: int) -> int:
        """One call into C that keeps every other thread of the process out."""
        return (7**size).bit_length()

    @remote(lane="control")
    def look(self) -> int:
        return self.total

    @remote
    def raise_(self, text: str) -> None:
        raise ValueError(text)

    @remote
    def exit(self, code: int) -> None:
        print("these are my last words", flush=True)
        os._exit(code)

    @remote
    def leave(self, code: int) -> None:
        sys.exit(code)

    @remote
    def spawn(self, new_session: bool = False) -> int:
        return subprocess.Popen(SLEEPER, start_new_session=new_session).pid


def program(count: int = 1, cls: type[Actor] = Worker, **options: Any) -> Program:
    program = Program("test", preload=options.pop("preload", ()))
    program.add_group("worker", cls, count=count, **options)
    return program


def cluster_of(count: int = 1, cls: type[Actor] = Worker, **options: Any) -> Cluster:
    known = ("log_dir", "on_event", "policy", "run_id", "spec")
    chosen = {name: options.pop(name) for name in known if name in options}
    return Cluster(program(count, cls, **options), **{"policy": QUICK, **chosen})


def wait_until(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> float:
    """Seconds that it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "it did not come to that"
        time.sleep(0.01)
    return time.monotonic() - start


def wait_until_back(cluster: Cluster, name: str = "worker/0", seconds: float = PATIENCE_S) -> None:
    """Until its first end is known and its successor is ready. A call that is sent in between may
    still go to the dead one."""
    wait_until(lambda: rows(cluster)[name]["restarts"] == 1, seconds)
    wait_until(lambda: rows(cluster)[name]["state"] == "ready", seconds)


def rows(cluster: Cluster) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in cluster.status()}


def is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def left_of(run_id: str) -> list[str]:
    """Whatever a run has left behind: processes, its directory, shared memory, sockets."""
    left = [f"process {pid}" for pid in strays.of_run(run_id)]
    left += [str(p) for p in Path(tempfile.gettempdir()).glob(f"actorrl-{os.getuid()}/{run_id}*")]
    left += [str(path) for path in Path("/dev/shm").glob(f"*{run_id}*")]
    sockets = Path("/proc/net/unix").read_text().splitlines()
    return left + [line for line in sockets if run_id in line]
