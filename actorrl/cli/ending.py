"""The last lines of a run: why it ended, where it is, and what to type next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actorrl.experiment.stop import StopCriteria


def program_words() -> list[str]:
    """How `actorrl` was called, so that a printed line works when it is pasted.

    scripts/launch calls a program that is not on PATH; `python -m actorrl` calls none.
    """
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [sys.executable, "-m", "actorrl"]
    on_path = shutil.which("actorrl")
    if on_path is not None and os.path.realpath(on_path) == os.path.realpath(called):
        return ["actorrl"]
    return [str(called)] if called.name == "actorrl" else ["actorrl"]


def command_line(*words: str) -> str:
    """A line for the shell that runs `actorrl` with these words."""
    return shlex.join([*program_words(), *words])


def last_lines(
    folder: Path, reason: str | None, last_row: Mapping[str, Any], stop: StopCriteria
) -> list[str]:
    """`reason` is what was reached, None after a signal."""
    resume = ["resume", str(folder)]
    if reason is not None:
        # A run that has reached its criteria would end at once: give it twice the experience.
        steps = int(last_row.get("timesteps_total") or 0)
        resume += ["--stop", f"timesteps_total={2 * steps}"] if steps else []
    return [
        f"ended: {reason}" if reason is not None else "stopped before the end, with a checkpoint",
        f"run folder: {folder}",
        f"evaluate:   {command_line('evaluate', str(folder), '--episodes', '20')}",
        f"resume:     {command_line(*resume)}",
    ]
