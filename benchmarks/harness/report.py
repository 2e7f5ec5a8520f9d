"""Outcomes as a table to read and as JSON lines to keep."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import budgets, phases

_HEADER = (
    "| case | unit | ours | other | ratio (min to max) | pairs | budget "
    "| CPU s, MiB: ours / other | load, commit |"
)
_TOLD = {
    "seconds_to_the_last": "{:.3g} s from a publication until the last worker has answered with it",
}
_BUDGETS = "| question | case | unit | measured | budget | pairs | load, commit |"


def table(rows: list[dict[str, Any]]) -> str:
    lines = [_HEADER, _rule(_HEADER), *(_line(row) for row in rows)]
    notes = [f"- {row['case']}: {row['note']}" for row in rows if row["note"]]
    for row in rows:
        notes += [f"- {row['case']}, {side}: {told}" for side, told in _told(row)]
        if shares := phases.sentence(row["ours_more"]):
            notes.append(f"- {row['case']}, CPU by phase: {shares}")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _told(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a side has beside its value that a reader should not miss."""
    for side in ("ours", "other"):
        for name, sentence in _TOLD.items():
            if name in row[f"{side}_more"]:
                yield row[side], sentence.format(row[f"{side}_more"][name])


def _line(row: dict[str, Any]) -> str:
    ours, other = (statistics.median(row[f"{side}_values"]) for side in ("ours", "other"))
    ratio = f"{row['ratio']:.3g} ({row['ratio_min']:.3g} to {row['ratio_max']:.3g})"
    usage = f"{_usage(row['ours_more'])} / {_usage(row['other_more'])}"
    other_cell = f"{row['other']}: {other:.4g}"
    pairs = str(len(row["ours_values"]))
    verdict = ", ".join(map(str, budgets.verdicts(row)))
    numbers = (f"{ours:.4g}", other_cell, ratio, pairs, verdict, usage, _when(row))
    cells = (row["case"], row["unit"], *numbers)
    return f"| {' | '.join(cells)} |"


def _when(row: dict[str, Any]) -> str:
    return f"{row['machine']['load_before']:g}, {row['machine']['git']}"


def _usage(more: dict[str, float]) -> str:
    cpu = more.get("cpu_s_per_1000")
    memory = more.get("pss_mib")
    parts = [f"{cpu:.3g}" if cpu is not None else "-", f"{memory:.0f}" if memory else "-"]
    return ", ".join(parts)


def keep(folder: Path, question: str, title: str, rows: list[dict[str, Any]]) -> None:
    """Append to FOLDER/bench.jsonl, and write FOLDER/QUESTION.md and FOLDER/budgets.md anew: of
    each case, also of those that were not asked this time, the newest answer."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "bench.jsonl", "a") as file:
        for row in rows:
            file.write(json.dumps({"question": question, **row}) + "\n")
    kept = list(map(json.loads, (folder / "bench.jsonl").read_text().splitlines()))
    newest = list({(row["question"], row["case"]): row for row in kept}.values())
    asked = [row for row in newest if row["question"] == question]
    lines = [f"# {title}", f"    scripts/bench {question}", _machine(rows[-1]), table(asked)]
    (folder / f"{question}.md").write_text("\n\n".join(lines) + "\n")
    lines = ["# Budgets, and what was measured", _machine(rows[-1]), budget_table(newest)]
    (folder / "budgets.md").write_text("\n\n".join(lines) + "\n")


def budget_table(rows: list[dict[str, Any]]) -> str:
    """A line for each budget of these rows."""
    lines = [_BUDGETS, _rule(_BUDGETS)]
    for row in rows:
        for verdict in budgets.verdicts(row):
            measured, pairs = f"{verdict.measured:.3g}", str(len(row["ours_values"]))
            cells = (row["question"], row["case"], row["unit"], measured, str(verdict))
            lines.append(f"| {' | '.join((*cells, pairs, _when(row)))} |")
    return "\n".join(lines)


def _rule(header: str) -> str:
    return "|---" * (header.count("|") - 1) + "|"


def _machine(row: dict[str, Any]) -> str:
    here = {k: v for k, v in row["machine"].items() if v and k not in ("load_before", "git")}
    return ", ".join(f"{key} {value}" for key, value in here.items())
