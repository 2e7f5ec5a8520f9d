"""Random faults, one after the other, on one long run: which, how they ended, what it cost.

    python -m tests.faults.soak --seed 1 --faults 500

The same seed gives the same faults in the same order (when each strikes depends on the machine).
First the run goes on without faults for a while, to be compared with. A fault that ends the run by
its nature (the driver's) is followed by `actorrl resume`. A slot that was killed often lately is
left in peace, since its restarts are bounded on purpose. Exit code 1 if an invariant was broken.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from actorrl.runtime.supervisor import Policy
from tests.faults.harness import FaultyRun, faulty_run
from tests.system import runs

ENV = ["--env", "CartPole-v1", "--workers", "2", "--stop", "timesteps_total=1e12"]
SETTINGS = ["--set", "min_time_s_per_iteration=0.3", "--checkpoint-freq", "20", "--keep", "3"]
ALGORITHM = "APEX"  # workers, shards and a learner
MAX_KILLS = Policy().max_restarts - 1  # of one slot, within the supervisor's window
WINDOW_S = Policy().window_s

KILLS = ("kill worker", "kill shard", "kill learner", "kill all workers", "segfault worker")
STOPS = ("stop worker", "stop shard", "stop learner", "stop agent", "stop driver")
AGENT, DRIVER = "kill agent", "kill driver"
FAULTS = (*KILLS * 3, *STOPS * 2, AGENT, DRIVER)


@dataclasses.dataclass
class Report:
    """What the table at the end shows."""

    seed: int
    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    seconds: dict[str, list[float]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )
    broken: list[str] = dataclasses.field(default_factory=list)
    resumes: int = 0
    free_rate: float = 0.0  # updates per second without faults
    rate: float = 0.0
    memory: list[int] = dataclasses.field(default_factory=list)
    loads: list[tuple[int, int]] = dataclasses.field(default_factory=list)

    def lines(self) -> list[str]:
        out = [f"soak: seed {self.seed}, {sum(self.counts.values())} faults", ""]
        out += ["| fault | times | seconds until it learns again, median | worst |"]
        out += ["|---|---|---|---|"]
        for kind, count in sorted(self.counts.items()):
            seconds = sorted(self.seconds[kind]) or [float("nan")]
            out.append(
                f"| {kind} | {count} | {seconds[len(seconds) // 2]:.1f} | {seconds[-1]:.1f} |"
            )
        share = self.rate / self.free_rate if self.free_rate else float("nan")
        first, last = (self.memory or [0])[0], (self.memory or [0])[-1]
        fds, threads = zip(*self.loads, strict=True) if self.loads else ((0,), (0,))
        out += [
            "",
            f"invariants broken: {len(self.broken)}",
            *(f"  {text}" for text in self.broken),
            f"runs resumed: {self.resumes}",
            f"updates per second, less those lost: {self.rate:.1f},"
            f" without faults {self.free_rate:.1f} ({share:.0%})",
            f"memory of driver and learner: {first >> 20} MiB at first,"
            f" {last >> 20} MiB at the end",
            f"descriptors of the driver: {min(fds)} to {max(fds)}; threads {min(threads)} to"
            f" {max(threads)}",
        ]
        return out


class Soak:
    """One run (and what resumes it) under `faults` random faults."""

    def __init__(self, seed: int, faults: int, home: Path, free_s: float = 20.0) -> None:
        self._random = random.Random(seed)
        self._faults = faults
        self._home = home
        self._free_s = free_s
        self._killed: dict[str, list[float]] = collections.defaultdict(list)
        self.report = Report(seed)

    def run(self) -> Report:
        left = self._faults
        words = ["--algo", ALGORITHM, *ENV, *SETTINGS, "--seed", "1"]
        with faulty_run(*words, home=self._home) as run:
            run.settle()
            self._measure_free_rate(run)
            run.baseline = run.driver_load()  # the first checkpoint has started threads
            first, started = run.last_row()["num_updates"], time.monotonic()
            left = self._inject(run, left)
        while left > 0:
            with self._resumed() as run:
                left = self._inject(run, left)
        self.report.rate = (run.last_row()["num_updates"] - first) / (time.monotonic() - started)
        return self.report

    @contextlib.contextmanager
    def _resumed(self) -> Iterator[FaultyRun]:
        folder = str(self._home / "results" / "run")
        self.report.resumes += 1
        self._killed.clear()  # a new supervisor
        with faulty_run(folder, home=self._home, command="resume") as run:
            before = run.status.get("driver_pid")
            run.wait_for(lambda: run.status.get("driver_pid") == run.process.pid, 120)
            assert before != run.process.pid
            run.settle()
            yield run

    def _measure_free_rate(self, run: FaultyRun) -> None:
        run.wait_for(lambda: bool(list((run.folder / "checkpoints").iterdir())), 120)
        first, started = run.last_row()["num_updates"], time.monotonic()
        time.sleep(self._free_s)
        self.report.free_rate = (run.last_row()["num_updates"] - first) / (
            time.monotonic() - started
        )

    def _inject(self, run: FaultyRun, left: int) -> int:
        """Faults until none is left, or one has ended the run; how many are left then."""
        while left > 0:
            kind = self._random.choice(FAULTS)
            which, pause_s, stop_s = (self._random.random() for _ in range(3))
            victims = self._victims(kind, which, run)
            if not victims:
                continue
            time.sleep(2.0 * pause_s)
            left -= 1
            self.report.counts[kind] += 1
            if not self._strike(run, kind, victims, 0.5 + 2.5 * stop_s):
                return left
            self._look(run, kind)
        return left

    def _victims(self, kind: str, which: float, run: FaultyRun) -> list[str]:
        """Whom it hits; nobody where that would use up a restart budget."""
        role = kind.split()[-1].removesuffix("s")
        names = {"worker": "rollout/", "shard": "replay/", "learner": "learner/"}
        if role not in names:
            return ["agent/local" if role == "agent" else "driver"]
        slots = sorted(name for name in run.actors() if name.startswith(names[role]))
        chosen = slots if kind == "kill all workers" else [slots[int(which * len(slots))]]
        now = time.monotonic()
        if kind in KILLS:
            for slot in chosen:
                self._killed[slot] = [t for t in self._killed[slot] if t > now - WINDOW_S]
            if any(len(self._killed[slot]) >= MAX_KILLS for slot in chosen):
                return []
            for slot in chosen:
                self._killed[slot].append(now)
        return chosen

    def _strike(self, run: FaultyRun, kind: str, victims: list[str], stop_s: float) -> bool:
        """False if the run is over. What goes wrong is a broken invariant."""
        started = time.monotonic()
        try:
            if kind == DRIVER:
                self._kill_driver(run)
                return False
            if kind == AGENT:
                self._kill_agent(run)
            elif kind in STOPS:
                run.stop_for(victims[0], stop_s)
            else:
                number = signal.SIGSEGV if kind.startswith("segfault") else signal.SIGKILL
                run.kill(*victims, number=number)
        except (AssertionError, runs.psutil.Error) as error:
            self.report.broken.append(f"{kind} {' '.join(victims)}: {error}")
            return run.process.poll() is None
        self.report.seconds[kind].append(time.monotonic() - started)
        return True

    def _kill_agent(self, run: FaultyRun) -> None:
        """All actors of the host end with it, and come back with its successor."""
        agent = run.actors()["agent/local"]["pid"]
        runs.psutil.Process(agent).kill()
        run.wait_for(lambda: run.actors()["agent/local"]["pid"] not in (None, agent))
        run.wait_for(run.all_ready)
        run.watch_weights()
        run.wait_until_it_learns()

    def _kill_driver(self, run: FaultyRun) -> None:
        run_id, started = run.run_id(), time.monotonic()
        run.process.kill()
        run.process.wait()
        runs.wait_for(lambda: not runs.processes_of(run_id) and not runs.traces_of(run_id), 30)
        self.report.seconds[DRIVER].append(time.monotonic() - started)

    def _look(self, run: FaultyRun, kind: str) -> None:
        try:
            self.report.broken += [f"after {kind}: {text}" for text in run.broken_invariants()]
        except AssertionError as error:
            self.report.broken.append(f"after {kind}: {error}")
        with contextlib.suppress(Exception):
            self.report.memory.append(run.memory_bytes())
            self.report.loads.append(run.driver_load())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        report = Soak(options.seed, options.faults, Path(home)).run()
    print("\n".join(report.lines()))
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
