"""A control group of the kernel's with little memory, for the tests that are run as root."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_MEMORY = Path("/sys/fs/cgroup/memory")  # version 1
_PATIENCE_S = 20.0


@contextlib.contextmanager
def little_memory(name: str, nbytes: int) -> Iterator[Path]:
    """The file that takes the pids of its members: the kernel kills whoever of them needs more than
    `nbytes` from then on. Skips the test where no such group can be made."""
    folder = _MEMORY / name
    if os.geteuid() != 0 or not (_MEMORY / "memory.limit_in_bytes").exists():
        pytest.skip(f"root and control groups (version 1) at {_MEMORY} are needed")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made in {_MEMORY} ({error.strerror})")
    try:
        (folder / "memory.limit_in_bytes").write_text(str(nbytes))
        (folder / "memory.swappiness").write_text("0")
        yield folder / "cgroup.procs"
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Its members have ended, or are about to."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            folder.rmdir()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
