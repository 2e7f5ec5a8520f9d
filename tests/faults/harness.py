"""A run under fault injection: started as a user starts it, watched from outside.

`FaultyRun` launches `actorrl launch` in a process of its own, injects faults by pid, waits until
the run has recovered, and checks after each what must hold whatever happens (`broken_invariants`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from actorrl.errors import WireError
from actorrl.wire.blocks import BlockReader
from actorrl.wire.shared_memory import MemoryClient
from tests.system import runs

PATIENCE_S = 180.0  # for what takes seconds on an idle machine
TIMES_VARIABLE = "ACTORRL_FAULT_TIMES"  # a file that takes a line of JSON per measured fault


class WeightWatcher(threading.Thread):
    """Reads the newest weights of a run all the time, from outside: versions never go back within
    an epoch, epochs never."""

    def __init__(self, memory_address: str) -> None:
        super().__init__(daemon=True)
        self._client = MemoryClient(memory_address)
        self.over = threading.Event()
        self.seen: list[tuple[int, int]] = []  # epoch, version
        self.error: str | None = None

    def run(self) -> None:
        with contextlib.suppress(WireError):  # the agent has gone
            reader = BlockReader(self._client, "state/weights")
            while not self.over.wait(0.002) and self.error is None:
                self._look(reader)
        self._client.close()

    def _look(self, reader: BlockReader) -> None:
        epoch = reader.epoch
        version = reader.version
        last = self.seen[-1] if self.seen else (0, 0)
        if epoch < last[0] or (epoch == last[0] and version < last[1]):
            self.error = f"weights {(epoch, version)} after {last}"
        if (epoch, version) != last:
            self.seen = [*self.seen[-10_000:], (epoch, version)]


@dataclasses.dataclass
class Measure:
    """Seconds from a fault to each sign of its end; None where there is no such sign."""

    fault: str
    victim: str
    detect_s: float | None = None
    ready_s: float | None = None
    recover_s: float | None = None
    rate_before: float | None = None
    rate_during: float | None = None

    def keep(self) -> None:
        path = os.environ.get(TIMES_VARIABLE)
        if path:
            with open(path, "a") as file:
                file.write(json.dumps(dataclasses.asdict(self)) + "\n")


class FaultyRun(runs.Run):
    """See the module."""

    baseline: tuple[int, int] = (0, 0)
    watcher: WeightWatcher | None = None
    has_learned = 0

    def wait_for(self, condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
        try:
            super().wait_for(condition, seconds)
        except AssertionError as error:
            said = (self.home / "output.txt").read_text()[-3000:]
            raise AssertionError(f"{error}; the run said:\n{said}") from None

    # ---- looking ------------------------------------------------------------------------

    def actors(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.status.get("actors", [])}

    def all_ready(self) -> bool:
        actors = self.actors()
        return bool(actors) and all(row["state"] in ("ready", "up") for row in actors.values())

    def event_list(self, kind: str) -> list[dict[str, Any]]:
        with contextlib.suppress(OSError):
            return [event for event in self.events() if event["kind"] == kind]
        return []

    def last_row(self) -> dict[str, Any]:
        rows = self.rows()
        return rows[-1] if rows else {}

    def driver_load(self) -> tuple[int, int]:
        """Descriptors and threads of the driver."""
        driver = psutil.Process(self.process.pid)
        return driver.num_fds(), driver.num_threads()

    def memory_bytes(self) -> int:
        """Of the driver and the learner."""
        pids = [self.process.pid, self.actors()["learner/0"]["pid"]]
        total = 0
        for pid in filter(None, pids):
            with contextlib.suppress(psutil.Error):
                total += psutil.Process(pid).memory_info().rss
        return total

    # ---- the beginning ------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until all are ready and it learns; from here on nothing may grow."""
        self.wait_for(lambda: self.all_ready() and len(self.rows()) >= 3, PATIENCE_S)
        self.watch_weights()
        self.baseline = self.driver_load()

    def watch_weights(self) -> None:
        """From now on; anew after the agent, whose memory they are in, was started again."""
        if self.watcher is not None:
            self.watcher.over.set()
            self.watcher.join(timeout=10)
        address = Path(tempfile.gettempdir()) / f"actorrl-{os.getuid()}" / self.run_id() / "memory"
        self.watcher = WeightWatcher(str(address))
        self.watcher.start()
        self.wait_for(lambda: bool(self.watcher and self.watcher.seen), PATIENCE_S)

    # ---- faults -------------------------------------------------------------------------

    def kill(self, *victims: str, number: signal.Signals = signal.SIGKILL) -> Measure:
        """Kill actors and wait until they, and learning, are back."""
        before = self.actors()
        for victim in victims:
            assert before[victim]["state"] == "ready", before[victim]
        rate = self.last_row().get("env_steps_per_s")
        measure = Measure(f"signal {number.name}", " ".join(victims), rate_before=rate)
        moment = time.time()
        for victim in victims:
            os.kill(before[victim]["pid"], number)
        self._await_return(measure, moment, {v: before[v]["incarnation"] for v in victims})
        return measure

    def _await_return(self, measure: Measure, moment: float, before: dict[str, int]) -> None:
        def ready() -> bool:
            actors = self.actors()
            return self.all_ready() and all(
                actors[victim]["incarnation"] > incarnation
                for victim, incarnation in before.items()
            )

        self.wait_for(ready, PATIENCE_S)
        measure.detect_s = self._seconds_to("actor_exited", moment, before)
        measure.ready_s = self._seconds_to("actor_ready", moment, before)
        during = [row["env_steps_per_s"] for row in self.rows()[-2:]]
        measure.rate_during = min(during) if during else None
        self.wait_until_it_learns()
        measure.recover_s = time.time() - moment
        measure.keep()

    def _seconds_to(self, kind: str, moment: float, victims: dict[str, int]) -> float | None:
        times = [
            event["time"] - moment
            for event in self.event_list(kind)
            if event.get("actor") in victims and event["time"] > moment - 0.01
        ]
        return max(times) if times else None

    def stop_for(self, victim: str, seconds: float) -> Measure:
        """SIGSTOP for a while: nobody is ended, nobody is started again."""
        pid = self.process.pid if victim == "driver" else self.actors()[victim]["pid"]
        restarts = self.num_restarts()
        measure = Measure(f"SIGSTOP {round(seconds)} s", victim)
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
        moment = time.time()
        self.wait_until_it_learns()
        measure.recover_s = time.time() - moment
        measure.keep()
        assert self.num_restarts() == restarts, "somebody was started again"
        return measure

    def num_restarts(self) -> int:
        return sum(row["restarts"] for row in self.actors().values())

    def wait_until_it_learns(self) -> None:
        """Two rows that were not there, with updates in them."""
        rows = self.rows()
        count, last = len(rows), self.last_row()

        def learns() -> bool:
            now = self.rows()
            fresh = now[count:]
            return len(fresh) >= 3 and fresh[-1]["num_updates"] > fresh[0]["num_updates"]

        self.wait_for(learns, PATIENCE_S)
        self.has_learned += 1
        assert last is not None

    # ---- what must hold -----------------------------------------------------------------

    def broken_invariants(self) -> list[str]:
        """After a fault and its recovery; empty if all hold."""
        self.wait_for(self.all_ready, PATIENCE_S)
        checks: list[Callable[[], str | None]] = [
            self._strays,
            self._counts,
            self._weights,
            self._root_causes,
            self._load,
        ]
        broken = [check() for check in checks]
        return [text for text in broken if text is not None]

    def _strays(self) -> str | None:
        """Every process of the run is an actor, the agent, its helper, or in an actor's group."""

        def strangers() -> list[str]:
            actors = [row["pid"] for row in self.actors().values()]
            found = []
            for process in runs.processes_of(self.run_id()):
                with contextlib.suppress(psutil.Error, OSError):
                    group = os.getpgid(process.pid)
                    helper = process.ppid() in actors or group in actors
                    agent_helper = group == os.getpgid(self.actors()["agent/local"]["pid"])
                    if process.pid not in actors and not helper and not agent_helper:
                        found.append(f"{process.pid} {' '.join(process.cmdline())[:60]}")
            return found

        return _settles(lambda: not strangers(), lambda: f"strays: {strangers()}")

    def _counts(self) -> str | None:
        rows = self.rows()
        epoch, updates, steps = 0, 0, 0
        for row in rows:
            now = row["info"]["learner"].get("epoch", epoch)
            if now == epoch and (row["num_updates"] < updates or row["timesteps_total"] < steps):
                return f"counts went back in epoch {epoch}, row {row['training_iteration']}"
            epoch, updates, steps = now, row["num_updates"], row["timesteps_total"]
        for event in self.event_list("elements_lost"):
            if not event["exact"] or event["elements"] < 1:
                return f"a loss that is none, or not exact: {event}"
        return _settles(
            lambda: len(self.event_list("actor_restarted")) == self.num_restarts(),
            lambda: f"{len(self.event_list('actor_restarted'))} events, {self.num_restarts()} said",
        )

    def _weights(self) -> str | None:
        assert self.watcher is not None
        return self.watcher.error

    def _root_causes(self) -> str | None:
        failed = self.event_list("run_failed")
        return f"the run failed: {failed}" if failed else None

    def _load(self) -> str | None:
        """Descriptors and threads of the driver are what they were."""
        limit = (self.baseline[0] + 2, self.baseline[1] + 1)
        return _settles(
            lambda: all(now <= most for now, most in zip(self.driver_load(), limit, strict=True)),
            lambda: f"descriptors and threads {self.driver_load()}, at the start {self.baseline}",
        )


def _settles(condition: Callable[[], bool], text: Callable[[], str]) -> str | None:
    deadline = time.monotonic() + 15.0
    while not condition():
        if time.monotonic() > deadline:
            return text()
        time.sleep(0.1)
    return None


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
            run.watcher.over.set()
            run.watcher.join(timeout=10)
        run_id = run.status.get("run_id")
        process.kill()
        process.wait()
        if run_id is not None:
            runs.see_off(run_id)
