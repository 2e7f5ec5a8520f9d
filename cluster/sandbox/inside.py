"""The first process of a sandbox host: gives it its own name, users and file systems, and becomes
its SSH server. Runs as `python -P inside.py DIRECTORY` in fresh namespaces, with the standard
library alone.

The host sees this machine's files but for what would make it "the same host": /tmp, /dev/shm and
/run are its own, /home holds its own users, and directories that other users cannot enter (such as
/root) are empty but for the shared paths, which are the interpreter's.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from pathlib import Path

OWN = {"/tmp": 0o1777, "/dev/shm": 0o1777, "/run": 0o755, "/root": 0o755}
FILES = "/run/sandbox"  # where the host finds its keys and configuration
_MS_BIND = 4096
_libc = ctypes.CDLL(None, use_errno=True)


def main(directory: str) -> None:
    spec = json.loads(Path(directory, "inside.json").read_text())
    socket.sethostname(spec["hostname"])
    kept = {path: os.open(path, os.O_PATH) for path in [*spec["shared"], directory]}
    masks = {**OWN, **dict.fromkeys(_closed_parents(spec["shared"]), 0o755)}
    for path in sorted(masks):  # parents first
        os.makedirs(path, exist_ok=True)
        _mount("tmpfs", path, "tmpfs", data=f"mode={masks[path]:o}")
    for path in spec["shared"]:
        _bind(kept[path], path)
    _bind(kept[directory], FILES)
    _bind(os.open(f"{FILES}/home", os.O_PATH), "/home")
    for name in ("passwd", "group", "shadow", "hosts"):
        _mount(f"{FILES}/{name}", f"/etc/{name}", None, _MS_BIND)
    os.mkdir("/run/sshd", 0o755)
    os.execv(spec["sshd"], [spec["sshd"], "-D", "-f", f"{FILES}/sshd_config", "-E",
                            f"{FILES}/sshd.log"])  # fmt: skip


def _closed_parents(shared: list[str]) -> set[str]:
    """The topmost directory above each shared path that other users cannot enter."""
    closed = set()
    for path in shared:
        for parent in reversed(Path(path).parents):
            if not parent.stat().st_mode & 0o001:
                closed.add(str(parent))
                break
    return closed


def _bind(source: int, target: str) -> None:
    """`source` is an open directory: its path may be hidden by now."""
    os.makedirs(target, exist_ok=True)
    _mount(f"/proc/self/fd/{source}", target, None, _MS_BIND)


def _mount(source: str, target: str, kind: str | None, flags: int = 0, data: str = "") -> None:
    kind_bytes = kind.encode() if kind else None
    if _libc.mount(source.encode(), target.encode(), kind_bytes, flags, data.encode()):
        error = ctypes.get_errno()
        raise OSError(error, f"mount {source} on {target}: {os.strerror(error)}")


if __name__ == "__main__":
    main(sys.argv[1])
