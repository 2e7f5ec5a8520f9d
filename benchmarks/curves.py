"""How did these runs learn? Their curves, as one CSV and one picture for a report.

    python benchmarks/curves.py [--minutes] OUT RUN...

writes OUT.csv (a row for about every hundredth of each run) and OUT.png (reward over env steps, or
over minutes). RUN is a run folder, or a file of `SECONDS STEPS MEAN` lines as peers write them;
NAME=RUN gives it another name. Curves of other names that OUT.csv has already stay in both. Needs
matplotlib (the extra `plot`).
"""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import click

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


def rows_of(run: Path) -> list[dict[str, Any]]:
    """All rows of a run that have a mean reward."""
    if run.is_dir():
        found = read_results(RunFolder.open(run))
        return [row for row in found if row.get("episode_reward_mean") is not None]
    names = ("time_total_s", "timesteps_total", "episode_reward_mean")
    lines = [[_long(word) for word in line.split()] for line in run.read_text().splitlines()]
    return [dict(zip(names, line, strict=True)) for line in lines if not math.isnan(line[2])]


def curve(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """About `POINTS` of the rows, evenly spaced in env steps, the last one included."""
    if not rows:
        return []
    spacing = rows[-1]["timesteps_total"] / POINTS
    chosen, due = [], 0.0
    for row in rows:
        if row["timesteps_total"] >= due or row is rows[-1]:
            chosen.append(row)
            due = row["timesteps_total"] + spacing
    return chosen


def read_csv(path: Path) -> dict[str, list[dict[str, Any]]]:
    """What `write_csv` wrote; nothing if there is no such file."""
    curves: dict[str, list[dict[str, Any]]] = {}
    if path.exists():
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                values = {column: _long(row[column]) for column in COLUMNS if row[column]}
                curves.setdefault(row["run"], []).append(values)
    return curves


def write_csv(path: Path, curves: dict[str, list[dict[str, Any]]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", *COLUMNS])
        for name, rows in curves.items():
            for row in rows:
                writer.writerow([name, *(_short(row.get(column)) for column in COLUMNS)])


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _long(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


def write_picture(
    path: Path, curves: dict[str, list[dict[str, Any]]], over_minutes: bool = False
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4))
    axes.set_prop_cycle(color=pyplot.get_cmap("tab20").colors)
    for name, rows in curves.items():
        key, unit = ("time_total_s", 60) if over_minutes else ("timesteps_total", 1)
        x = [row[key] / unit for row in rows]
        axes.plot(x, [row["episode_reward_mean"] for row in rows], label=name)
    axes.set_xlabel("minutes" if over_minutes else "env steps")
    axes.set_ylabel("episode_reward_mean")
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


@click.command(help=__doc__)
@click.option("--minutes", is_flag=True, help="Over minutes, not env steps.")
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("runs", nargs=-1, required=True)
def main(minutes: bool, out: Path, runs: tuple[str, ...]) -> None:
    curves = read_csv(out.with_suffix(".csv"))
    for run in runs:
        name, _, path = run.rpartition("=")
        curves[name or Path(path).name] = curve(rows_of(Path(path)))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_csv(out.with_suffix(".csv"), curves)
    write_picture(out.with_suffix(".png"), curves, minutes)


if __name__ == "__main__":
    main()
