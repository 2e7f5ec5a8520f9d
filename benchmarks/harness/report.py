"""Outcomes as a table to read and as JSON lines to keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.harness import phases

_HEADER = (
    "| case | unit | ours | other | ratio (min to max) | pairs | budget "
    "| CPU s, MiB: ours / other | load, commit |"
)
_RULE = "|---|---|---|---|---|---|---|---|---|"


def table(rows: list[dict[str, Any]]) -> str:
    lines = [_HEADER, _RULE, *(_line(row) for row in rows)]
    notes = [f"- {row['case']}: {row['note']}" for row in rows if row["note"]]
    for row in rows:
        if shares := phases.sentence(row["ours_more"]):
            notes.append(f"- {row['case']}, CPU by phase: {shares}")
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _line(row: dict[str, Any]) -> str:
    ours, other = _median(row["ours_values"]), _median(row["other_values"])
    ratio = f"{row['ratio']:.3g} ({row['ratio_min']:.3g} to {row['ratio_max']:.3g})"
    usage = f"{_usage(row['ours_more'])} / {_usage(row['other_more'])}"
    other_cell = f"{row['other']}: {other:.4g}"
    when = f"{row['machine']['load_before']:g}, {row['machine']['git']}"
    pairs = str(len(row["ours_values"]))
    numbers = (f"{ours:.4g}", other_cell, ratio, pairs, row["bar"], usage, when)
    cells = (row["case"], row["unit"], *numbers)
    return f"| {' | '.join(cells)} |"


def _usage(more: dict[str, float]) -> str:
    cpu = more.get("cpu_s_per_1000")
    memory = more.get("pss_mib")
    parts = [f"{cpu:.3g}" if cpu is not None else "-", f"{memory:.0f}" if memory else "-"]
    return ", ".join(parts)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def keep(folder: Path, question: str, title: str, rows: list[dict[str, Any]]) -> None:
    """Append to FOLDER/bench.jsonl, and write FOLDER/QUESTION.md anew: of each case, also of those
    that were not asked this time, the newest answer."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "bench.jsonl", "a") as file:
        for row in rows:
            file.write(json.dumps({"question": question, **row}) + "\n")
    kept = map(json.loads, (folder / "bench.jsonl").read_text().splitlines())
    newest = {row["case"]: row for row in kept if row["question"] == question}
    machine = rows[-1]["machine"]
    here = {k: v for k, v in machine.items() if v and k not in ("load_before", "git")}
    about = ", ".join(f"{key} {value}" for key, value in here.items())
    lines = [f"# {title}", f"    scripts/bench {question}", about, table(list(newest.values()))]
    (folder / f"{question}.md").write_text("\n\n".join(lines) + "\n")
