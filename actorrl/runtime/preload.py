"""Imported by the agent's forkserver: imports what the Program names, before any fork.

3.11's forkserver swallows import errors of what it preloads, and dies of any other; here they are
said in the agent's log, and the actors go on without (each imports for itself, and tells its own
error). What was preloaded must have started no thread: it would be missing in every fork.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import sys
import tempfile
import traceback
from multiprocessing import forkserver
from pathlib import Path

from actorrl.runtime.inventory import allow_descriptors

NAMES_VARIABLE = "ACTORRL_PRELOAD"  # from the agent to its forkserver, taken out here
EARLY_VARIABLE = "ACTORRL_EARLY"  # from the command line to an agent that is started early
MODULES = ["actorrl.runtime.child", __name__]  # of every forkserver


def warm(sockets: str) -> None:
    """Start the forkserver of this process now, with what `EARLY_VARIABLE` names and its socket in
    the run's directory `sockets`."""
    tempfile.tempdir = sockets
    start(os.environ.pop(EARLY_VARIABLE).split())


def start(names: list[str]) -> None:
    """Start the forkserver of this process now, unless it runs; it imports while others work."""
    allow_descriptors()  # what it forks inherits the limit
    os.environ[NAMES_VARIABLE] = " ".join(names)
    multiprocessing.get_context("forkserver").set_forkserver_preload(MODULES)
    forkserver.ensure_running()
    del os.environ[NAMES_VARIABLE]


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
    gc.disable()
    load(os.environ.pop(NAMES_VARIABLE).split())
    # Actors never look at what they share for garbage: it would write to each object, and so give
    # every actor a copy of the pages.
    gc.freeze()
    gc.enable()
