"""The measured times of the fault suite as a table.

    ACTORRL_FAULT_TIMES=$PWD/times.jsonl scripts/test --all tests/faults \\
        tests/runtime/test_memory_limits.py tests/runtime/test_hosts_at_work.py -k "not soak"
    .venv/bin/python -m tests.faults.times times.jsonl >benchmarks/results/FOLDER/faults.md

Seconds from the fault until the driver noted it (detect), until the successor was ready, and until
new rows with updates were written (learns again; of SIGSTOP and links: from the end of the fault).
Of several measurements the median, and the worst.
"""

from __future__ import annotations

import collections
import datetime
import json
import os
import re
import statistics
import sys
from pathlib import Path
from typing import Any

COLUMNS = {"detect_s": "detect", "ready_s": "ready again", "recover_s": "learns again"}
# Pattern of "fault of victim" -> who sees it. The first that fits counts.
DETECTED_BY = {
    r"SIGKILL of driver": "the agent, by the driver's pidfd",
    r"SIGKILL of agent": "the driver, by the end of the agent's process",
    r"signal|crash at": "the agent, by the end of the process",
    r"SIGSTOP .* of agent": "the driver, by late beats: suspect at 4 s, lost at 30 s (`lease_s`)",
    r"SIGSTOP .* of driver": "nobody: a gap in its own ticks moves all deadlines",
    r"SIGSTOP": "nobody: below `progress_limit_s` (600 s)",
    r"environment: (sleep|GIL)": "the agent, by progress beats: at the limit, 8 s here",
    r"environment: no memory": "the worker, which says so",
    r"environment": "the agent, by the end of the process",
    r"out of memory: the kernel": "the agent, by the end of the process and the kernel's count",
    r"out of memory": "the agent, by what the process holds",
    r"link|host lost": "the driver, by late beats: suspect at 4 s, lost at 10 s",
    r"port": "whoever binds: the next one",
    r"disk": "the driver, by the write that fails",
    r"slab": "the producer, by the agent's answer",
    r"consumer": "its producers, which have no credit",
}


def table(measures: list[dict[str, Any]]) -> list[str]:
    """Lines of Markdown."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for measure in measures:
        groups[measure["fault"], measure["victim"]].append(measure)
    titles = ["fault", "of", "seen by", "times", *COLUMNS.values(), "lost", "load"]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    notes = []
    for (fault, victim), group in groups.items():
        cells = [_cell([m[key] for m in group if m[key] is not None]) for key in COLUMNS]
        load = f"{statistics.median(m['load'] for m in group):.0f}"
        row = [fault, victim, _seen_by(fault, victim), str(len(group)), *cells]
        lines.append(f"| {' | '.join([*row, group[-1]['lost'] or '0', load])} |")
        if group[-1]["note"]:
            notes.append(f"- {fault}, {victim}: {group[-1]['note']}.")
    return [*lines, "", *notes]


def _seen_by(fault: str, victim: str) -> str:
    text = f"{fault} of {victim}"
    return next((who for pattern, who in DETECTED_BY.items() if re.search(pattern, text)), "")


def _cell(seconds: list[float]) -> str:
    if not seconds:
        return ""
    middle = f"{statistics.median(seconds):.2f} s"
    return middle if len(seconds) == 1 else f"{middle} ({max(seconds):.2f})"


def main(path: str) -> None:
    measures = [json.loads(line) for line in Path(path).read_text().splitlines()]
    cores = len(os.sched_getaffinity(0))
    print("# Faults: time to detect and to recover\n")
    print(f"{datetime.date.today()}, {cores} cores. CartPole-v1, 2 workers unless the tests say")
    print("otherwise. `load` is the machine's load average when it was measured: above the number")
    print("of cores most of the time is spent waiting for one. Of several measurements the median,")
    print("and the worst in brackets. `lost`: what the run's events have counted.\n")
    print("\n".join(table(measures)))


if __name__ == "__main__":
    main(*sys.argv[1:])
