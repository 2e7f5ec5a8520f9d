"""A run of actorrl's own command line, as an outsider starts it and reads its rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def command(
    algo: str, env: str, results: str, *more: str, settings: Iterable[str] = ()
) -> tuple[list[str], Path]:
    """The words that start it, `--set` before each of the settings, and where its rows will be."""
    words = [sys.executable, "-m", "actorrl", "launch", "--quiet", "--algo", algo, "--env", env]
    words += ["--name", "run", "--results", results, *more]
    words += [word for setting in settings for word in ("--set", setting)]
    return words, Path(results) / "run" / "result.json"


def newest_row(rows: Path) -> dict[str, Any]:
    """Raises OSError, ValueError or IndexError while there is none, or half of one."""
    row: dict[str, Any] = json.loads(rows.read_text().splitlines()[-1])
    return row
