"""Outcomes as a table to read and as JSON lines to keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.harness import phases

_HEADER = "| case | unit | ours | other | ratio (min to max) | budget | CPU s, MiB: ours / other |"
_RULE = "|---|---|---|---|---|---|---|"


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
    cells = (row["case"], row["unit"], f"{ours:.4g}", other_cell, ratio, row["bar"], usage)
    return f"| {' | '.join(cells)} |"


def _usage(more: dict[str, float]) -> str:
    cpu = more.get("cpu_s_per_1000")
    memory = more.get("pss_mib")
    parts = [f"{cpu:.3g}" if cpu is not None else "-", f"{memory:.0f}" if memory else "-"]
    return ", ".join(parts)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def keep(
    folder: Path, question: str, title: str, machine: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    """Append to FOLDER/bench.jsonl, and write FOLDER/QUESTION.md anew."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "bench.jsonl", "a") as file:
        for row in rows:
            file.write(json.dumps({"question": question, **row, "machine": machine}) + "\n")
    about = ", ".join(f"{key} {value}" for key, value in machine.items() if value)
    text = f"# {title}\n\n    scripts/bench {question}\n\n{about}\n\n{table(rows)}\n"
    (folder / f"{question}.md").write_text(text)
