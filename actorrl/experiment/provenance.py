"""Where a run's results come from: versions and git revision, for params.json."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("actorrl", "numpy", "torch", "gymnasium", "ale-py", "pyzmq", "msgspec", "safetensors")


def versions() -> dict[str, str | None]:
    """Versions of Python and the packages that matter, None for one that is absent.

    Reads the installed packages' metadata and imports none of them.
    """
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def git_revision(folder: str | Path = ".") -> str | None:
    """The commit checked out in `folder`, with `-dirty` when files differ; None outside of git."""
    revision = _git(folder, "rev-parse", "HEAD")
    if not revision:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{revision}-dirty" if changed else revision


def command_line() -> list[str]:
    """The driver's command line as it was given."""
    return list(sys.argv)


def _git(folder: str | Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
