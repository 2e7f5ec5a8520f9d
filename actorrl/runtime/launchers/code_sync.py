"""`sync: {mode: copy}`: the driver's actorrl and the user's source get to a host, once per content.

    WORKDIR/.actorrl/code/actorrl-HASH/actorrl/...      the package
    WORKDIR/.actorrl/code/source-HASH/...               the user's files

A tree that is there under its hash is not sent again. A new one is unpacked beside its place and
then renamed, so that another run never sees half of it. Files only: links to files are copied as
files, links to folders are left out and said.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from actorrl.errors import ConfigError
from actorrl.paths import expanded
from actorrl.runtime.host_specs import SyncSpec
from actorrl.runtime.launchers import own
from actorrl.runtime.launchers.connection import Connection
from actorrl.runtime.launchers.remote_command import run_script

MAX_BYTES = 200 << 20
MAX_FILES = 20_000
# Never copied, whatever `exclude` says: another machine's, or made again there.
ALWAYS_EXCLUDED = (
    *("__pycache__", "*.pyc", ".*_cache", ".git", ".venv", ".peers", ".sandbox", "node_modules"),
)
_ASK_S = 60.0
_SLOWEST_BYTES_PER_S = 50_000
_PACKAGE = "actorrl"
_SOURCE = "source"


class Copied(NamedTuple):
    """Where a host has the code: folders for its PYTHONPATH, the user's last. `sent` says what had
    to be sent."""

    paths: list[str]
    sent: list[str]


class Tree:
    """Files under one folder, with a hash of what is in them."""

    def __init__(self, label: str, root: Path, exclude: Sequence[str]) -> None:
        """Raises ConfigError for more than may be copied."""
        self.label = label
        self.root = root
        self.num_links = 0
        self._files = self._find((*exclude, *ALWAYS_EXCLUDED))
        self.name = f"{label}-{self._digest()}"

    def _find(self, exclude: Sequence[str]) -> list[tuple[str, Path]]:
        """(path in the tree, file), sorted."""
        found: list[tuple[str, Path]] = []
        sizes: dict[str, int] = {}
        for path in self._walk(self.root, exclude):
            relative = path.relative_to(self.root).as_posix()
            found.append((relative, path))
            top = relative.partition("/")[0]
            sizes[top] = sizes.get(top, 0) + path.stat().st_size
            if sum(sizes.values()) > MAX_BYTES or len(found) > MAX_FILES:
                raise ConfigError(_too_large(self.root, sizes))
        return sorted(found)

    def _walk(self, folder: Path, exclude: Sequence[str]) -> Iterator[Path]:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            path = Path(entry.path)
            if _is_excluded(path.relative_to(self.root).as_posix(), exclude):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(path, exclude)
            elif entry.is_file():
                yield path
            elif entry.is_symlink():
                self.num_links += 1

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for relative, path in self._files:
            mode = "x" if os.access(path, os.X_OK) else "-"
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{relative}\0{mode}\0{content}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    @functools.cached_property
    def archive(self) -> bytes:
        """A compressed tar of the files."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=3) as tar:
            for relative, path in self._files:
                tar.add(os.path.realpath(path), relative, recursive=False, filter=_plain)
        return buffer.getvalue()


def trees(sync: SyncSpec) -> list[Tree]:
    """What `sync` copies. Raises ConfigError."""
    package = Tree(_PACKAGE, own.PACKAGE.parent, _all_but_the_package())
    source = expanded(sync.source).resolve()
    return [package, Tree(_SOURCE, source, sync.exclude)]


def copy(connection: Connection, python: str, workdir: str, wanted: Sequence[Tree]) -> Copied:
    """Have the trees on the host. Raises HostError."""
    told = {"workdir": workdir, "names": [tree.name for tree in wanted]}
    there = run_script(connection, python, "have_code", told, _ASK_S)["there"]
    sent = []
    for tree in wanted:
        if tree.name not in there:
            told = {"workdir": workdir, "name": tree.name, "label": tree.label}
            patience_s = _ASK_S + len(tree.archive) / _SLOWEST_BYTES_PER_S
            run_script(connection, python, "unpack_code", told, patience_s, tree.archive)
            sent.append(tree.name)
    return Copied([f"{workdir}/.actorrl/code/{tree.name}" for tree in wanted], sent)


def _all_but_the_package() -> list[str]:
    """Of the folder that holds the package, which may be a site-packages, only the package."""
    with os.scandir(own.PACKAGE.parent) as entries:
        return [f"/{entry.name}" for entry in entries if entry.name != own.PACKAGE.name]


def _is_excluded(relative: str, exclude: Sequence[str]) -> bool:
    """A pattern is matched with the name and with the path; one that begins with / with the path
    alone."""
    name = relative.rpartition("/")[2]
    for pattern in exclude:
        pattern = pattern.rstrip("/") if len(pattern) > 1 else pattern
        if fnmatch.fnmatch(relative, pattern.removeprefix("./").lstrip("/")):
            return True
        if not pattern.startswith("/") and fnmatch.fnmatch(name, pattern):
            return True
    return False


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's, and without what the host's user may not have."""
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755 if info.mode & 0o100 else 0o644
    return info


def _too_large(root: Path, sizes: dict[str, int]) -> str:
    largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
    named = ", ".join(f"{name} ({sizes[name] / 1e6:.0f} MB)" for name in largest)
    return (
        f"sync.source: {root} is too large to copy, accepted are {MAX_BYTES >> 20} MiB in "
        f"{MAX_FILES} files; name what is not needed in sync.exclude, the largest are {named}"
    )
