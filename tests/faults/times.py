"""The measured times of the fault suite as a table.

    ACTORRL_FAULT_TIMES=$PWD/times.jsonl scripts/test tests/faults
    .venv/bin/python -m tests.faults.times times.jsonl >benchmarks/results/FOLDER/faults.md

Seconds from the fault until the driver noted the end of the process (detect), until its successor
was ready, and until three more rows with updates were written (learns again). Of several
measurements the median, and the worst.
"""

from __future__ import annotations

import collections
import datetime
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

COLUMNS = {"detect_s": "detect", "ready_s": "ready again", "recover_s": "learns again"}


def table(measures: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for measure in measures:
        groups[measure["fault"], measure["victim"]].append(measure)
    lines = [f"| fault | victim | times | {' | '.join(COLUMNS.values())} |"]
    lines.append("|" + "---|" * (3 + len(COLUMNS)))
    for (fault, victim), group in groups.items():
        cells = [_cell([m[key] for m in group if m[key] is not None]) for key in COLUMNS]
        lines.append(f"| {fault} | {victim} | {len(group)} | {' | '.join(cells)} |")
    return lines


def _cell(seconds: list[float]) -> str:
    if not seconds:
        return ""
    middle = f"{statistics.median(seconds):.2f} s"
    return middle if len(seconds) == 1 else f"{middle} ({max(seconds):.2f})"


def main(path: str) -> None:
    measures = [json.loads(line) for line in Path(path).read_text().splitlines()]
    load = os.getloadavg()
    print("# Faults: time to detect and to recover\n")
    print(f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores, load average when this")
    print(
        f"table was made {load[0]:.1f} (5 minutes: {load[1]:.1f}): on a loaded machine most of the"
    )
    print(
        "time is spent waiting for a processor. CartPole-v1, 2 workers. Of several measurements the"
    )
    print("median, and the worst in brackets.\n")
    print("\n".join(table(measures)))


if __name__ == "__main__":
    main(*sys.argv[1:])
