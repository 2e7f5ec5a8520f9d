"""The processes of agents: what becomes of starts that fail, and of the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from actorrl.errors import HostError
from actorrl.runtime import agent_processes
from actorrl.runtime.agent_processes import AgentProcesses
from actorrl.runtime.host_specs import HostSpec
from actorrl.runtime.launch import Prepared
from actorrl.wire.control_messages import AgentConfig
from tests.runtime.clusters import PATIENCE_S, wait_until

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


@pytest.fixture
def launch() -> Launch:
    return Launch()


@pytest.fixture
def processes(launch: Launch) -> Iterator[AgentProcesses]:
    made = AgentProcesses("run", launch)
    yield made
    launch.may_go.set()
    made.close(0.0)


def config(prepared: Prepared) -> AgentConfig:
    return AgentConfig(
        run_id="run",
        host="far",
        incarnation=1,
        driver_address="",
        beat_address="",
        log_dir=prepared.log_dir,
        preload=[],
        slots=[],
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (HostError("far: no route"), "far: no route"),
        (OSError("no memory"), "far: no memory"),
        (
            KeyError("pid"),
            r"far: starting its agent failed: KeyError: 'pid' \(test_agent_processes.py:\d+\)",
        ),
    ],
)
def test_whatever_goes_wrong_while_a_host_is_made_ready_is_told(processes, launch, error, said):
    told: list = []
    launch.error = error
    launch.may_go.set()
    processes.prepare(FAR, config, told.append)
    wait_until(lambda: bool(told))
    (failure,) = told
    with pytest.raises(HostError, match=f"^{said}$"):
        raise failure


def test_an_agent_is_started_once_its_host_is_ready(processes, launch):
    told: list = []
    processes.prepare(FAR, config, told.append)
    assert launch.process.did == [] and told == []
    launch.may_go.set()
    wait_until(lambda: bool(told))
    assert told[0].process is launch.process and launch.process.did == ["start"]


def test_a_host_that_is_ready_after_the_end_is_not_started(processes, launch, monkeypatch):
    told: list = []
    monkeypatch.setattr(agent_processes, "_JOIN_S", 0.0)
    processes.prepare(FAR, config, told.append)
    processes.close(0.0)
    launch.may_go.set()
    wait_until(lambda: bool(told))
    assert str(told[0]) == "far: the run is over"
    assert launch.process.did == ["close"]


def test_all_agents_are_ended_at_the_same_time(processes):
    all_wait = threading.Barrier(8)  # of which one alone would never come back
    started = [Process(all_wait) for _ in range(8)]
    for process in started:
        processes.start("far", Prepared(process, ""), config)
    processes.close(PATIENCE_S)
    assert [process.did for process in started] == [["start", "kill", "close"]] * 8


def test_an_agent_that_cannot_be_closed_holds_nobody_up(processes, monkeypatch):
    class Stuck(Process):
        def close(self) -> None:
            held.wait(PATIENCE_S)
            super().close()

    held = threading.Event()
    stuck, other = Stuck(), Process()
    monkeypatch.setattr(agent_processes, "_JOIN_S", 0.05)
    for process in (stuck, other):
        processes.start("far", Prepared(process, ""), config)
    processes.close(0.0)
    assert stuck.did == ["start", "kill"]
    held.set()
    wait_until(lambda: stuck.did == other.did == ["start", "kill", "close"])
