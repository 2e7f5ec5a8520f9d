"""A run under fault injection: started as a user starts it, watched from outside.

`FaultyRun` launches `actorrl launch` in a process of its own, injects faults by pid, waits until
the run has recovered, and checks after each what must hold whatever happens (`broken_invariants`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.faults import invariants
from tests.faults.measures import Measure
from tests.faults.tails import Tail
from tests.faults.weight_watcher import WeightWatcher
from tests.system import runs

PATIENCE_S = 120.0  # for what takes seconds on an idle machine
_LOST = {"elements_lost": "elements", "rows_lost": "rows", "learner_recovered": "updates_lost"}


class FaultyRun(runs.Run):
    """See the module."""

    def __init__(self, process: subprocess.Popen[str], home: Path, name: str) -> None:
        super().__init__(process, home, name)
        self._rows = Tail(self.folder / "result.json")
        self._events = Tail(self.folder / "events.jsonl")
        self._first_event = len(self._events.read())  # of a resumed run: what is not its own
        self._counts = invariants.Counts()
        self._num_recoveries = 0
        self.baseline = (0, 0, 0)
        self.watcher: WeightWatcher | None = None

    def wait_for(self, condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        try:
            super().wait_for(condition, seconds)
        except AssertionError as error:
            said = (self.home / "output.txt").read_text()[-3000:]
            raise AssertionError(f"{error}; the run said:\n{said}") from None

    # ---- looking ------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        return self._rows.read()

    def events(self) -> list[dict[str, Any]]:
        return self._events.read()[self._first_event :]

    def actors(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.status.get("actors", [])}

    def all_ready(self) -> bool:
        """Of this driver's run, not of one that it resumes."""
        agents = [row["state"] for row in self.actors().values() if row["role"] == "agent"]
        return self.actors_ready() and all(state == "up" for state in agents)

    def actors_ready(self) -> bool:
        """Whatever hosts there are."""
        if self.status.get("driver_pid") != self.process.pid:
            return False
        states = [row["state"] for row in self.actors().values() if row["role"] != "agent"]
        return bool(states) and all(state == "ready" for state in states)

    def event_list(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events() if event["kind"] == kind]

    def last_row(self) -> dict[str, Any]:
        rows = self.rows()
        return rows[-1] if rows else {}

    def memory(self) -> dict[str, tuple[int, int]]:
        """Pid and bytes of the driver and of each actor and agent."""
        pids = {"driver": self.process.pid}
        pids |= {name: row["pid"] for name, row in self.actors().items() if row["pid"]}
        found = {}
        for name, pid in pids.items():
            with contextlib.suppress(psutil.Error):
                found[name] = (pid, psutil.Process(pid).memory_info().rss)
        return found

    def num_restarts(self) -> int:
        """Of actors; agents are counted apart."""
        return sum(row["restarts"] for row in self.actors().values() if row["role"] != "agent")

    # ---- the beginning ------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until all are ready and it learns; from here on nothing may grow. The first
        checkpoint opens a connection to every actor, so that much may come."""
        self.wait_for(lambda: self.all_ready() and len(self.rows()) >= 3)
        self.wait_until_it_learns()
        self.watch_weights()
        connections = 2 * len(self.actors())
        descriptors, threads, sockets = invariants.load_of(self.process.pid)
        self.baseline = (descriptors + connections, threads, sockets + connections)

    def watch_weights(self) -> None:
        """From now on; anew after the agent, whose memory they are in, was started again."""
        if self.watcher is not None:
            self.watcher.end()
        address = Path(tempfile.gettempdir()) / f"actorrl-{os.getuid()}" / self.run_id() / "memory"
        self.watcher = WeightWatcher(str(address))
        self.watcher.start()
        self.wait_for(lambda: bool(self.watcher and self.watcher.seen))

    # ---- faults -------------------------------------------------------------------------

    def kill(self, *victims: str, number: signal.Signals = signal.SIGKILL) -> Measure:
        """Kill actors and wait until they, and learning, are back."""
        before = self.actors()
        for victim in victims:
            assert before[victim]["state"] == "ready", before[victim]
        measure = Measure(f"signal {number.name}", " ".join(victims))
        moment = time.time()
        for victim in victims:
            os.kill(before[victim]["pid"], number)
        self.await_return(measure, moment, {v: before[v]["incarnation"] for v in victims})
        return measure

    def kill_agent(self) -> Measure:
        """All actors of the host end with it, and come back with its successor."""
        agent = self.actors()["agent/local"]["pid"]
        old = self.actors()
        moment = time.time()
        psutil.Process(agent).kill()
        measure = Measure("signal SIGKILL", "agent/local")
        self.wait_for(lambda: self.actors()["agent/local"]["pid"] not in (None, agent))
        measure.detect_s = self._seconds_to("host_lost", moment)
        before = {name: row["incarnation"] for name, row in old.items() if "agent" not in name}
        self.await_return(measure, moment, before)
        self.watch_weights()
        return measure

    def await_return(self, measure: Measure, moment: float, before: dict[str, int]) -> None:
        """Until a successor of each of these incarnations is ready, and it learns."""

        def ready() -> bool:
            actors = self.actors()
            return self.actors_ready() and all(
                actors[victim]["incarnation"] > incarnation
                for victim, incarnation in before.items()
            )

        self.wait_for(ready)
        if measure.detect_s is None:
            measure.detect_s = self._seconds_to("actor_exited", moment, before)
        measure.ready_s = self._seconds_to("actor_ready", moment, before)
        self.wait_until_it_learns()
        measure.recover_s = time.time() - moment
        measure.lost = self.lost_since(moment)
        measure.keep()

    def _seconds_to(
        self, kind: str, moment: float, victims: dict[str, int] | None = None
    ) -> float | None:
        """Until the last of the victims has such an event."""
        times = [
            event["time"] - moment
            for event in self.event_list(kind)
            if event["time"] > moment - 0.01 and (not victims or event.get("actor") in victims)
        ]
        return max(times) if times else None

    def lost_since(self, moment: float) -> str:
        """What the run's events have counted as lost, in words."""
        sums = {
            word: sum(e[word] for e in self.event_list(kind) if e["time"] >= moment)
            for kind, word in _LOST.items()
        }
        words = [f"{n} {word.removesuffix('_lost')}" for word, n in sums.items() if n]
        most = [e["elements_at_most"] for e in self.event_list("host_lost") if e["time"] >= moment]
        return ", ".join([*words, *(f"up to {n} elements in flight" for n in most if n)])

    def stop_for(self, victim: str, seconds: float) -> Measure:
        """SIGSTOP for a while: nobody is ended, nobody is started again."""
        pid = self.process.pid if victim == "driver" else self.actors()[victim]["pid"]
        restarts = self.num_restarts()
        measure = Measure(f"SIGSTOP {round(seconds)} s", victim)
        begun = time.time()
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
        moment = time.time()
        self.wait_until_it_learns()
        measure.detect_s = self._seconds_to("host_suspect", begun)
        measure.recover_s = time.time() - moment
        measure.lost = self.lost_since(begun)
        measure.keep()
        assert self.num_restarts() == restarts, "somebody was started again"
        return measure

    def wait_until_it_learns(self) -> None:
        """Rows that were not there, with updates in them."""
        count = len(self.rows())

        def learns() -> bool:
            fresh = self.rows()[count:]
            return len(fresh) >= 2 and fresh[-1]["num_updates"] > fresh[0]["num_updates"]

        self.wait_for(learns)

    # ---- what must hold -----------------------------------------------------------------

    def broken_invariants(self) -> list[str]:
        """After a fault and its recovery; empty if all hold."""
        self.wait_for(self.actors_ready)
        assert self.watcher is not None
        broken = [
            invariants.no_strays(self.run_id(), self.actors),
            self._counts.check(self.rows(), self.events()),
            invariants.recoveries_agree(self.rows(), self._new_recoveries()),
            self._restarts_agree(),
            self.watcher.error,
            invariants.load_is_as_before(self.process.pid, self.baseline),
        ]
        return [text for text in broken if text is not None]

    def _new_recoveries(self) -> list[dict[str, Any]]:
        """Since this was asked last."""
        found = self.event_list("learner_recovered")
        new = found[self._num_recoveries :]
        self._num_recoveries = len(found)
        return new

    def _restarts_agree(self) -> str | None:
        def told() -> int:
            return len(self.event_list("actor_restarted"))

        return invariants.settles(
            lambda: told() == self.num_restarts(),
            lambda: f"{told()} events of a restart, but the status says {self.num_restarts()}",
        )


@contextlib.contextmanager
def faulty_run(
    *words: str,
    home: Path,
    name: str = "run",
    variables: dict[str, str] | None = None,
    command: str = "launch",
) -> Iterator[FaultyRun]:
    """A launch in the background; whatever is left of it at the end is killed. What it says goes
    into output.txt."""
    options = ["--name", name, "--results", "results"] if command == "launch" else []
    with open(home / "output.txt", "a") as output:
        process = subprocess.Popen(
            [*runs.ACTORRL, command, *words, *options, "--quiet"],
            cwd=home,
            env={**runs.environment(home), **(variables or {})},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            text=True,
        )
    run = FaultyRun(process, home, name)
    try:
        yield run
    finally:
        if run.watcher is not None:
            run.watcher.end()
        run_id = run.status.get("run_id")
        process.kill()
        process.wait()
        if run_id is not None:
            runs.see_off(run_id)
