"""How long Ctrl-C takes, checkpoint included, for one algorithm of each topology.

.venv/bin/python -m tests.faults.shutdowns
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests.system import runs

TIMES = 3
ALGORITHMS = {  # one of each topology -> its environment
    "APEX": "CartPole-v1",
    "IMPALA": "CartPole-v1",
    "A3C": "CartPole-v1",
    "PPO": "CartPole-v1",
    "DQN": "CartPole-v1",
    "ES": "CartPole-v1",
    "APEX_DDPG": "Pendulum-v1",
}


def seconds(algo: str, env: str) -> tuple[float, list[str]]:
    """From the signal to the end of the command; what was there after it."""
    words = ["--algo", algo, "--env", env, "--workers", "2", "--stop", "timesteps_total=1e9"]
    with tempfile.TemporaryDirectory() as home, runs.launched(*words, home=Path(home)) as run:
        run.wait_for(lambda: len(run.rows()) >= 2, 180)
        run_id, moment = run.run_id(), time.monotonic()
        run.end(signal.SIGINT)
        took_s = time.monotonic() - moment
        left = [str(process) for process in runs.processes_of(run_id)]
        return took_s, left + runs.traces_of(run_id)


def main() -> None:
    print(f"Ctrl-C, 2 workers; {TIMES} times each, load average {os.getloadavg()[0]:.1f}\n")
    print("| algorithm | median | worst | left |\n|---|---|---|---|", flush=True)
    for algo, env in ALGORITHMS.items():
        found = [seconds(algo, env) for _ in range(TIMES)]
        times = [took_s for took_s, _ in found]
        left = sum(len(names) for _, names in found)
        row = f"{statistics.median(times):.1f} s | {max(times):.1f} s | {left}"
        print(f"| {algo} | {row} |", flush=True)


if __name__ == "__main__":
    main()
