"""How did these runs learn? Curves of run folders, as one CSV and one picture for a report.

    python benchmarks/curves.py OUT RUN_FOLDER...

writes OUT.csv (a row for about every hundredth of each run) and OUT.png (reward over env steps).
Needs matplotlib (the extra `plot`).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

from actorrl.experiment.results import read_results
from actorrl.experiment.run_folder import RunFolder

COLUMNS = (
    "timesteps_total",
    "episode_reward_mean",
    "time_total_s",
    "num_updates",
    "env_steps_per_s",
    "samples_per_insert",
    "policy_lag_mean",
)
POINTS = 100


def curve(run: RunFolder) -> list[dict[str, Any]]:
    """About `POINTS` rows of a run, evenly spaced in env steps, the last one included."""
    rows = [row for row in read_results(run) if row.get("episode_reward_mean") is not None]
    if not rows:
        return []
    spacing = rows[-1]["timesteps_total"] / POINTS
    chosen, due = [], 0.0
    for row in rows:
        if row["timesteps_total"] >= due or row is rows[-1]:
            chosen.append(row)
            due = row["timesteps_total"] + spacing
    return chosen


def write_csv(path: Path, curves: dict[str, list[dict[str, Any]]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", *COLUMNS])
        for name, rows in curves.items():
            for row in rows:
                writer.writerow([name, *(_short(row.get(column)) for column in COLUMNS)])


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def write_picture(path: Path, curves: dict[str, list[dict[str, Any]]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4))
    axes.set_prop_cycle(color=pyplot.get_cmap("tab20").colors)
    for name, rows in curves.items():
        steps = [row["timesteps_total"] for row in rows]
        axes.plot(steps, [row["episode_reward_mean"] for row in rows], label=name)
    axes.set_xlabel("env steps")
    axes.set_ylabel("episode_reward_mean")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(arguments: list[str]) -> int:
    if len(arguments) < 2:
        print(__doc__)
        return 2
    out = Path(arguments[0])
    curves = {Path(folder).name: curve(RunFolder.open(folder)) for folder in arguments[1:]}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_csv(out.with_suffix(".csv"), curves)
    write_picture(out.with_suffix(".png"), curves)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
