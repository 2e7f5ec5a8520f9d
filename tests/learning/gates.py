"""The learning gates of gates.yaml: read, run as a user would, judged, and recorded.

    python -m tests.learning.gates [NAME...] [--seed N]... [--results FOLDER]

runs some of them by hand; without names it prints what there is. What was seen of a gate is one
JSON file in FOLDER (settings, criterion, and for each seed the score and the curve); gates.md
there is the table of all files.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from actorrl.cli.tuned_file import read_tuned_file
from benchmarks.harness.machine import describe, folder_name
from tests.system.runs import ROOT, actorrl, environment, rows_in

LIST = Path(__file__).with_name("gates.yaml")
PATIENCE_S = 7000.0  # for one command: a million env steps beside other work
POINTS = 60  # of a recorded curve


class Criterion(NamedTuple):
    """What the score of a run is, and where it must lie."""

    measure: str  # training (the last mean), highest (of all means), greedy, sampled
    at_least: float = -float("inf")
    at_most: float = float("inf")
    episodes: int = 100

    def __str__(self) -> str:
        played = self.measure in ("greedy", "sampled")
        what = f"{self.episodes} {self.measure}" if played else self.measure
        return (
            f"{what} {f'<= {self.at_most:g}' if self.at_most < 1e300 else f'>= {self.at_least:g}'}"
        )


@dataclass(frozen=True)
class Gate:
    name: str
    commands: list[list[str]]  # the last one's run is judged; FOLDER, SEED are put in
    criterion: Criterion
    budget: str
    quick: bool = False


@dataclass(frozen=True)
class Outcome:
    """Of one seed."""

    seed: int
    passed: bool
    score: float
    env_steps: int
    updates: int
    seconds: float
    curve: list[tuple[int, float]] = field(default_factory=list)  # env steps, mean return

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return f"{verdict}: {self.score:.2f} after {self.env_steps} env steps, {self.seconds:.0f} s"


# ---- the list -----------------------------------------------------------------------------------


def read_gates() -> tuple[list[Gate], list[int]]:
    """All gates, and the seeds. ValueError for an entry that is none."""
    content = yaml.safe_load(LIST.read_text())
    return [_gate(name, body) for name, body in content["gates"].items()], content["seeds"]


def _gate(name: str, body: dict[str, Any]) -> Gate:
    known = {"example", "launch", "script", "before", "stop", "pass", "quick"}
    if len({"example", "launch", "script"} & set(body)) != 1 or set(body) - known:
        raise ValueError(f"{name}: {body} is no gate")
    stop, criterion = body.get("stop", {}), body.get("pass", {})
    if "example" in body:
        tuned = read_tuned_file(body["example"])
        stop, criterion = tuned.stop, tuned.criterion
        last = _launch("run", ["-f", body["example"]], {})
    elif "launch" in body:
        last = _launch("run", shlex.split(body["launch"]), stop)
    else:
        last = [sys.executable, "-m", body["script"], "--seed", "SEED", "--results", "FOLDER"]
        last += ["--most", str(stop["timesteps_total"])]
    before = [_launch("before", shlex.split(body["before"]), {})] if "before" in body else []
    budget = ", ".join(f"{key} {value:g}" for key, value in stop.items())
    quick = body.get("quick", False)
    return Gate(name, [*before, last], Criterion(**criterion), budget, quick)


def _launch(name: str, words: Sequence[str], stop: Mapping[str, float]) -> list[str]:
    stops = [word for key, value in stop.items() for word in ("--stop", f"{key}={value}")]
    where = ["--name", name, "--results", "FOLDER", "--seed", "SEED", "--quiet"]
    return ["launch", *words, *stops, *where]


# ---- a run --------------------------------------------------------------------------------------


def play(gate: Gate, seed: int, folder: Path) -> Outcome:
    """Run a gate's commands in this folder and judge. AssertionError where a command fails."""
    started = time.monotonic()
    for command in gate.commands:
        words = [_filled(word, seed, folder) for word in command]
        done = _execute(words, folder)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
    seconds = time.monotonic() - started
    rows = rows_in(folder / "run")
    score = _score(gate.criterion, rows, folder)
    passed = gate.criterion.at_least <= score <= gate.criterion.at_most
    last = rows[-1]
    return Outcome(
        seed, passed, score, last["timesteps_total"], last["num_updates"], seconds, _curve(rows)
    )


def _filled(word: str, seed: int, folder: Path) -> str:
    return word.replace("FOLDER", str(folder)).replace("SEED", str(seed))


def _execute(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    if words[0] != sys.executable:
        return actorrl(*words, home=folder, timeout=PATIENCE_S)
    return subprocess.run(
        words,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(folder),
        timeout=PATIENCE_S,
        stdin=subprocess.DEVNULL,
    )


def _score(criterion: Criterion, rows: list[dict[str, Any]], folder: Path) -> float:
    if criterion.measure == "training":
        last = rows[-1]
        if last["episode_reward_mean"] is None:
            return -float("inf")
        return float(min([last["episode_reward_mean"], *_of_policies(last)]))
    if criterion.measure == "highest":
        means = [row["episode_reward_mean"] for row in rows]
        return max(mean for mean in means if mean is not None)
    words = ["evaluate", str(folder / "run"), "--episodes", str(criterion.episodes), "--json"]
    words += ["--stochastic"] if criterion.measure == "sampled" else []
    done = actorrl(*words, home=folder, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)["episode_reward_mean"])


def _of_policies(row: dict[str, Any]) -> list[float]:
    """Means of several policies; their episodes' sums are more."""
    return [mean for mean in row["policy_reward_mean"].values() if mean is not None]


def _curve(rows: list[dict[str, Any]]) -> list[tuple[int, float]]:
    """About `POINTS` of all rows, the last one included."""
    seen = [
        (row["timesteps_total"], round(row["episode_reward_mean"], 2))
        for row in rows
        if row["episode_reward_mean"] is not None
    ]
    return seen[:: max(1, len(seen) // POINTS)] + seen[-1:] if seen else []


# ---- what was seen ------------------------------------------------------------------------------


def record(gate: Gate, outcome: Outcome, folder: Path) -> None:
    """Into the gate's file, in the place of what was there of this seed; the table is made anew."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{gate.name}.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    runs = [run for run in runs if run["seed"] != outcome.seed] + [asdict(outcome)]
    content = {
        "gate": gate.name,
        "commands": [_shown(command) for command in gate.commands],
        "stop": gate.budget,
        "pass": str(gate.criterion),
        "runs": sorted(runs, key=lambda run: int(run["seed"])),
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    (folder / "gates.md").write_text(table(folder))


def _shown(command: list[str]) -> str:
    shown = ["python", *command[1:]] if command[0] == sys.executable else ["actorrl", *command]
    return shlex.join(shown)


def table(folder: Path) -> str:
    """Of all gates that were recorded in this folder, in Markdown."""
    lines = [
        "# Learning gates\n",
        "`scripts/test --gates`; commands and curves are in the JSON files. Other work may have run"
        " on\nthe machine, so seconds are upper bounds.\n",
        "| gate | passes with | stops at | seed | score | env steps | seconds | passed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(folder.glob("*.json")):
        gate = json.loads(path.read_text())
        lines += [
            f"| {gate['gate']} | {gate['pass']} | {gate['stop']} | {run['seed']} "
            f"| {run['score']:.2f} | {run['env_steps']:,} | {run['seconds']:.0f} "
            f"| {'yes' if run['passed'] else '**no**'} |"
            for run in gate["runs"]
        ]
    return "\n".join(lines) + "\n"


def todays_folder() -> Path:
    day = time.strftime("%Y-%m-%d")
    return ROOT / "benchmarks/results" / folder_name(describe(), day) / "gates"


def main() -> None:
    gates, seeds = read_gates()
    parser = argparse.ArgumentParser(description="Run learning gates.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="without: list them")
    parser.add_argument("--seed", type=int, action="append", help="without: all of the list")
    parser.add_argument("--results", type=Path, help="folder to record in")
    parser.add_argument("--folder", action="store_true", help="print today's folder for results")
    chosen = parser.parse_args()
    if chosen.folder:
        print(todays_folder())
        return
    for gate in gates:
        if not chosen.names:
            print(f"{gate.name}: {gate.criterion}; {gate.budget}")
        if gate.name not in chosen.names:
            continue
        for seed in chosen.seed or seeds:
            with tempfile.TemporaryDirectory() as folder:
                outcome = play(gate, seed, Path(folder))
            print(f"{gate.name} seed {seed} {outcome}", flush=True)
            if chosen.results is not None:
                record(gate, outcome, chosen.results)


if __name__ == "__main__":
    main()
