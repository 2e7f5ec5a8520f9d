"""The hosts of a run as the driver has them: what becomes of starts that fail, and of the end."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorrl.errors import HostError
from actorrl.runtime import fleet as fleets
from actorrl.runtime.fleet import Fleet
from actorrl.runtime.host_specs import ClusterSpec, HostSpec, NetworkSpec
from actorrl.runtime.launch import Prepared
from actorrl.wire.sockets import tcp_address
from tests.runtime.clusters import PATIENCE_S, wait_until

LOOPBACK = "127.0.0.1"
FAR = HostSpec(name="far")


class Process:
    """An agent's, of which nothing runs."""

    pid = None

    def __init__(self, all_wait: threading.Barrier | None = None) -> None:
        self.did: list[str] = []
        self._all_wait = all_wait

    def start(self, config: bytes) -> None:
        self.did.append("start")

    def wait(self, timeout_s: float) -> int | None:
        if self._all_wait is not None:
            self._all_wait.wait(PATIENCE_S)
        return None

    def kill(self) -> None:
        self.did.append("kill")

    def close(self) -> None:
        self.did.append("close")


class Launch:
    """Gives `process` once `may_go` is set, or raises `error`."""

    def __init__(self) -> None:
        self.process = Process()
        self.error: Exception | None = None
        self.may_go = threading.Event()

    def prepare(self, host: HostSpec, run_id: str) -> Prepared:
        assert self.may_go.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        return Prepared(self.process, "/nowhere")

    def bind(self, host: str) -> str:
        return LOOPBACK

    def way(self, viewer: str, host: str, port: int) -> str:
        return tcp_address(LOOPBACK, port)


@pytest.fixture
def launch() -> Launch:
    return Launch()


@pytest.fixture
def fleet(launch: Launch) -> Iterator[Fleet]:
    spec = ClusterSpec(hosts=(FAR,), network=NetworkSpec(ports=(22_000, 22_999)))
    made = Fleet("run", spec, launch, None, post=lambda action: action())
    with tempfile.TemporaryDirectory() as short:  # a path of sockets
        made.open(Path(short), [], [])
        yield made
        launch.may_go.set()
        made.close(0.0)
        made.close_sockets()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (HostError("far: no route"), "far: no route"),
        (OSError("no memory"), "far: no memory"),
        (KeyError("pid"), r"far: starting its agent failed: KeyError: 'pid' \(test_fleet.py:\d+\)"),
    ],
)
def test_whatever_goes_wrong_while_a_host_is_made_ready_is_told(fleet, launch, error, said):
    told: list = []
    fleet.on_launched = lambda *words: told.append(words)
    launch.error = error
    launch.may_go.set()
    fleet.start("far", 1)
    wait_until(lambda: bool(told))
    ((host, incarnation, failure),) = told
    assert (host, incarnation) == ("far", 1)
    with pytest.raises(HostError, match=f"^{said}$"):
        raise failure


def test_a_host_that_is_ready_after_the_end_is_not_started(fleet, launch, monkeypatch):
    told: list = []
    fleet.on_launched = lambda *words: told.append(words)
    monkeypatch.setattr(fleets, "_JOIN_S", 0.0)
    fleet.start("far", 1)
    fleet.close(0.0)
    launch.may_go.set()
    wait_until(lambda: bool(told))
    assert str(told[0][2]) == "far: the run is over"
    assert launch.process.did == ["close"]


def test_all_agents_are_ended_at_the_same_time(fleet):
    all_wait = threading.Barrier(8)  # of which one alone would never come back
    processes = [Process(all_wait) for _ in range(8)]
    fleet._processes += processes
    fleet.close(PATIENCE_S)
    assert [process.did for process in processes] == [["kill", "close"]] * 8
    fleet._processes.clear()


def test_an_agent_that_cannot_be_closed_holds_nobody_up(fleet, monkeypatch):
    class Stuck(Process):
        def close(self) -> None:
            held.wait(PATIENCE_S)
            super().close()

    held = threading.Event()
    stuck, other = Stuck(), Process()
    monkeypatch.setattr(fleets, "_JOIN_S", 0.05)
    fleet._processes += [stuck, other]
    fleet.close(0.0)
    assert stuck.did == ["kill"]
    held.set()
    wait_until(lambda: stuck.did == other.did == ["kill", "close"])
    fleet._processes.clear()
