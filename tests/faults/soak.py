"""Random faults, one after the other, on one long run: which, how they ended, what it cost.

    python -m tests.faults.soak --seed 1 --faults 500

The same seed gives the same faults in the same order (when each strikes depends on the machine). A
line per fault goes to standard error, the table at the end to standard output. Before and after the
faults the run goes on in peace for a while, to be compared with. A fault that ends the run by its
nature (the driver's) is followed by `actorrl resume`. A slot, or a role, that was killed often
lately is left in peace, since restarts are bounded on purpose. Exit code 1 if an invariant was
broken.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from actorrl.runtime.host_states import HostPolicy
from actorrl.runtime.slots import Policy
from tests.faults import garbage, invariants
from tests.faults.harness import FaultyRun, faulty_run
from tests.faults.soak_report import Report
from tests.system import runs

ENV = ["--env", "CartPole-v1", "--workers", "3", "--stop", "timesteps_total=1e12"]
SETTINGS = ["--set", "min_time_s_per_iteration=0.2", "--checkpoint-freq", "20", "--keep", "3"]
ALGORITHM = "APEX"  # workers, shards and a learner
CALM_S = 20.0
SLACK_S = 60.0  # by which our windows are longer than the driver's
PAUSE_S = 9.5  # at most, between two faults: 500 take about an hour

# How often each strikes, in parts of 100; workers are the many, and the ones that die.
FAULTS = {
    "kill worker": 40,
    "segfault worker": 10,
    "kill all workers": 6,
    "kill shard": 14,
    "kill worker and shard": 4,
    "kill learner": 6,
    "kill agent": 4,
    "kill driver": 3,
    "stop worker": 3,
    "stop shard": 2,
    "stop learner": 2,
    "stop agent": 2,
    "stop driver": 2,
    "garbage": 2,
}
PREFIX = {"worker": "rollout/", "shard": "replay/", "learner": "learner/"}


class Budgets:
    """How often each slot, each role and the agent were killed lately: one less than what would end
    the run. Our windows are longer than the driver's: a kill is noted before the pause that comes
    first, and the driver's clock stands still while it does."""

    def __init__(self) -> None:
        self._killed: dict[str, list[float]] = collections.defaultdict(list)
        policy, host = Policy(), HostPolicy()
        self._slot = (policy.max_restarts, policy.window_s + SLACK_S)
        self._role = (policy.group_restarts, policy.group_window_s + SLACK_S)
        self._agent = (host.max_losses, host.window_s + SLACK_S)

    def allow(self, victims: list[str]) -> bool:
        now = time.monotonic()
        names = [*victims, *(victim.partition("/")[0] for victim in victims)]
        for name, count in collections.Counter(names).items():
            most, window_s = self._limit(name)
            self._killed[name] = [t for t in self._killed[name] if t > now - window_s]
            if len(self._killed[name]) + count >= most:
                return False
        for name in names:
            self._killed[name].append(now)
        return True

    def _limit(self, name: str) -> tuple[int, float]:
        if name.startswith("agent"):
            return self._agent
        return self._slot if "/" in name else self._role


class Soak:
    """One run (and what resumes it) under `faults` random faults."""

    def __init__(
        self, seed: int, faults: int, home: Path, calm_s: float = CALM_S, pause_s: float = PAUSE_S
    ) -> None:
        self._random = random.Random(seed)
        self._left = faults
        self._home = home
        self._calm_s = calm_s
        self._pause_s = pause_s
        self._budgets = Budgets()
        self.report = Report(seed)

    def run(self) -> Report:
        words = ["--algo", ALGORITHM, *ENV, *SETTINGS, "--seed", "1"]
        started = time.monotonic()
        with faulty_run(*words, home=self._home) as run:
            self._settle(run)
            self._rest(run)
            first, begun = run.last_row()["num_updates"], time.monotonic()
            self._inject(run)
            over = self._is_over(run) and self._end(run, first, begun)
        while not over:
            with self._resumed() as run:
                self._inject(run)
                over = self._is_over(run) and self._end(run, first, begun)
        self._evaluate()
        self.report.seconds_in_all = time.monotonic() - started
        return self.report

    def _is_over(self, run: FaultyRun) -> bool:
        """A run that the last fault has ended is resumed once more, to be ended in order."""
        return self._left == 0 and run.process.poll() is None

    def _settle(self, run: FaultyRun) -> None:
        """Until its first checkpoint has opened what checkpoints need."""
        begun = time.time()

        def is_new(checkpoint: Path) -> bool:
            with contextlib.suppress(OSError):  # removed meanwhile, as no longer kept
                return checkpoint.stat().st_mtime > begun
            return False

        run.settle()
        run.wait_for(lambda: any(map(is_new, (run.folder / "checkpoints").iterdir())))
        run.wait_until_it_learns()
        run.baseline = invariants.load_of(run.process.pid)

    def _rest(self, run: FaultyRun) -> None:
        """A while without faults."""
        first, started = run.last_row()["num_updates"], time.monotonic()
        time.sleep(self._calm_s)
        seconds = time.monotonic() - started
        self.report.calm_rates.append((run.last_row()["num_updates"] - first) / seconds)

    def _end(self, run: FaultyRun, first: int, begun: float) -> bool:
        """The rate with faults, another rest, and an orderly end. True."""
        self.report.rate = (run.last_row()["num_updates"] - first) / (time.monotonic() - begun)
        self._rest(run)
        means = [row["episode_reward_mean"] for row in run.rows()]
        self.report.best_mean = max(mean for mean in means if mean is not None)
        run_id, started = run.run_id(), time.monotonic()
        run.end(signal.SIGINT)
        self.report.stop_s = time.monotonic() - started
        left = [str(process) for process in runs.processes_of(run_id)] + runs.traces_of(run_id)
        if left:
            self.report.break_("the end", f"left behind: {left}")
        return True

    def _evaluate(self) -> None:
        words = ["evaluate", str(self._home / "results" / "run"), "--episodes", "20", "--json"]
        done = runs.actorrl(*words, home=self._home)
        if done.returncode:
            self.report.break_("the end", f"evaluate: {done.stderr[-500:]}")
        else:
            self.report.greedy = json.loads(done.stdout)["episode_reward_mean"]

    @contextlib.contextmanager
    def _resumed(self) -> Iterator[FaultyRun]:
        folder = str(self._home / "results" / "run")
        self.report.resumes += 1
        self._budgets = Budgets()  # a new supervisor
        with faulty_run(folder, home=self._home, command="resume") as run:
            self._settle(run)
            yield run

    # ---- one fault after the other ------------------------------------------------------

    def _inject(self, run: FaultyRun) -> None:
        """Faults until none is left, or one has ended the run."""
        while self._left > 0 and run.process.poll() is None:
            kind = self._random.choices(list(FAULTS), list(FAULTS.values()))[0]
            which, pause, length = (self._random.random() for _ in range(3))
            victims = self._victims(kind, which, run)
            if not victims or (_ends(kind) and not self._budgets.allow(victims)):
                continue
            time.sleep(self._pause_s * pause)
            self._left -= 1
            started = time.monotonic()
            self._strike(run, kind, victims, 0.5 + 5.0 * length)
            self.report.note(kind, time.monotonic() - started)
            if kind != "kill driver" and run.process.poll() is None:
                self._look(run, kind)

    def _victims(self, kind: str, which: float, run: FaultyRun) -> list[str]:
        """Whom it hits: names of slots, `agent` or `driver`."""
        if kind in ("kill agent", "stop agent"):
            return ["agent/local"]
        if kind in ("kill driver", "stop driver", "garbage"):
            return ["driver"]
        roles = [word for word in kind.replace("workers", "worker").split() if word in PREFIX]
        chosen = []
        for role in roles:
            slots = sorted(name for name in run.actors() if name.startswith(PREFIX[role]))
            chosen += slots if "all" in kind else [slots[int(which * len(slots))]]
        return chosen

    def _strike(self, run: FaultyRun, kind: str, victims: list[str], length_s: float) -> None:
        """Until it has recovered. What goes wrong is a broken invariant."""
        try:
            if kind == "kill driver":
                self._kill_driver(run)
            elif kind == "kill agent":
                run.kill_agent()
            elif kind == "garbage":
                garbage.send(run.run_id(), self._random.randrange(1 << 30))
                run.wait_until_it_learns()
            elif kind.startswith("stop"):
                run.stop_for(victims[0], length_s)
            else:
                number = signal.SIGSEGV if kind.startswith("segfault") else signal.SIGKILL
                run.kill(*victims, number=number)
        except (AssertionError, OSError, runs.psutil.Error) as error:
            self.report.break_(f"{kind} {' '.join(victims)}", f"{type(error).__name__}: {error}")
            self._let_all_go_on(run)

    def _let_all_go_on(self, run: FaultyRun) -> None:
        """If the run is stuck, kill its driver: the rest of the faults want a run."""
        with contextlib.suppress(AssertionError):
            run.wait_until_it_learns()
            return
        if run.process.poll() is None:
            self._kill_driver(run)

    def _kill_driver(self, run: FaultyRun) -> None:
        run_id = run.run_id()
        run.process.kill()
        run.process.wait()
        runs.wait_for(lambda: not runs.processes_of(run_id) and not runs.traces_of(run_id), 30)

    def _look(self, run: FaultyRun, kind: str) -> None:
        try:
            for text in run.broken_invariants():
                self.report.break_(f"after {kind}", text)
            self.report.sample(run.memory(), invariants.load_of(run.process.pid))
        except (AssertionError, OSError, runs.psutil.Error) as error:
            self.report.break_(f"after {kind}", f"{type(error).__name__}: {error}")


def _ends(kind: str) -> bool:
    """Whether it ends processes, and so uses up a budget."""
    return kind.startswith(("kill", "segfault"))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--folder", help="keep the run's folder and output there")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = options.folder or stack.enter_context(tempfile.TemporaryDirectory())
        os.makedirs(home, exist_ok=True)
        report = Soak(options.seed, options.faults, Path(home)).run()
    print("\n".join(report.lines()))
    return 1 if report.broken or not report.good_enough(options.faults) else 0


if __name__ == "__main__":
    sys.exit(main())
