"""Imported by the agent's forkserver alone: imports what the Program names, before any fork.

3.11's forkserver swallows import errors of what it preloads, and dies of any other; here they are
said in the agent's log, and the actors go on without (each imports for itself, and tells its own
error). What was preloaded must have started no thread: it would be missing in every fork.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path

NAMES_VARIABLE = "ACTORRL_PRELOAD"  # from the agent to its forkserver, taken out here


def load(names: list[str]) -> list[str]:
    """Import the modules; those that could not be, each with its reason on standard error."""
    failed = []
    for name in names:
        try:
            importlib.import_module(name)
        except BaseException:  # whatever it is, it must not end the forkserver
            failed.append(name)
            print(f"warning: preload of {name!r} failed:", file=sys.stderr)
            traceback.print_exc()
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        print(f"warning: preloading started {threads - 1} threads", file=sys.stderr)
    sys.stderr.flush()
    return failed


if NAMES_VARIABLE in os.environ:
    load(os.environ.pop(NAMES_VARIABLE).split())
