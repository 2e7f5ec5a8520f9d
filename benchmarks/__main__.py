"""python -m benchmarks [--pairs N] [--peers] [--budgets] [--out DIR] NAME...: measure, print, and
keep."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click

from actorrl.errors import ActorRLError
from benchmarks.harness import machine, pairing, report
from benchmarks.harness.pairing import Case

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--pairs", type=click.IntRange(1), help="Windows of each side (default: the case's).")
@click.option("--peers", is_flag=True, help="The other libraries too, made in .peers.")
@click.option("--budgets", is_flag=True, help="Only cases with a budget.")
@click.option("--only", default="", help="Cases whose name contains this.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results.")
def main(
    names: tuple[str, ...],
    pairs: int | None,
    peers: bool,
    budgets: bool,
    only: str,
    out: Path | None,
) -> None:
    """Answer the questions NAMES, each a file beside this one; with --peers or --budgets all of
    them by default. Ends with 1 where a case had no answer."""
    if not (names or budgets or peers):
        raise click.UsageError("which questions? scripts/bench lists them")
    about = machine.describe()
    print(f"machine: {about['cpu']}, {about['cores']} cores, load {about['load_before']}")
    if about["load_before"] > 0.5:
        print("warning: others use this machine; the ratios will spread")
    day = datetime.date.today().isoformat()
    folder = out or RESULTS / machine.folder_name(about, day)
    num_asked = num_answered = 0
    for name in names or _questions():
        question = _question(name)
        title = (question.__doc__ or name).splitlines()[0]
        print(f"\n{title}", flush=True)
        asked = [c for c in question.cases(peers) if only in c.name and (c.bar or not budgets)]
        rows: list[dict[str, object]] = []
        for case in asked:
            with _said(case):  # the answers of the other cases are kept
                rows.append({**_answer(case, pairs), "machine": about})
        num_asked, num_answered = num_asked + len(asked), num_answered + len(rows)
        if rows:
            report.keep(folder, name, title, rows)
            print(f"\n{report.table(rows)}\n\nkept in {os.path.relpath(folder)}")
    if num_answered < num_asked:
        sys.exit(1)


def _questions() -> list[str]:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if "\ndef cases(" in file.read_text()]


def _question(name: str) -> ModuleType:
    if not (Path(__file__).parent / f"{name}.py").exists():
        raise click.UsageError(f"no benchmarks/{name}.py: scripts/bench lists the questions")
    module = importlib.import_module(f"benchmarks.{name}")
    if not hasattr(module, "cases"):
        raise click.UsageError(f"benchmarks/{name}.py is no question: scripts/bench lists them")
    return module


def _answer(case: Case, pairs: int | None) -> dict[str, object]:
    outcome = pairing.measure(case if pairs is None else _with_pairs(case, pairs))
    row = outcome.as_row()
    print(f"  {case.name}: {row['ratio']:.3g} x {case.other.name} {case.bar}", flush=True)
    return row


@contextlib.contextmanager
def _said(case: Case) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, OSError, ActorRLError) as error:
        print(f"  {case.name}: no answer: {error}", file=sys.stderr, flush=True)


def _with_pairs(case: Case, pairs: int) -> Case:
    return dataclasses.replace(case, pairs=pairs)


if __name__ == "__main__":
    sys.exit(main())
