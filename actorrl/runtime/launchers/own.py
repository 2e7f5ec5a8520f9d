"""What the driver itself runs with: the measure by which hosts are checked and prepared."""

from __future__ import annotations

import functools
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import actorrl
from actorrl.wire.messages import PROTOCOL_VERSION

PACKAGE = Path(actorrl.__file__).resolve().parent
PYTHON = (sys.version_info.major, sys.version_info.minor)
PROTOCOL = PROTOCOL_VERSION
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[.*?\])?")


@functools.cache
def version() -> str | None:
    """Of actorrl; what the source tree says goes before what is installed, which may be stale."""
    text = _pyproject()
    found = re.search(r'^version = "(.*)"', text, re.M)
    if found:
        return found[1]
    try:
        return metadata.version("actorrl")
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def requirements() -> dict[str, str]:
    """Name -> version of every package that actorrl can use and that is here, its extras included:
    a host gets what the driver has. Local labels (2.4.0+cpu) are left out: no index knows them."""
    pins = {}
    for line in [*_declared().needed, *_declared().extra]:
        match = _NAME.match(line)
        if match is None or match[2]:  # extras of other packages: `setup` is for those
            continue
        try:
            pins[match[1]] = metadata.version(match[1]).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return pins


@functools.cache
def needed() -> frozenset[str]:
    """Names of the packages without which actorrl does not run."""
    return frozenset(match[1] for line in _declared().needed if (match := _NAME.match(line)))


class _Declared(NamedTuple):
    needed: list[str]
    extra: list[str]


@functools.cache
def _declared() -> _Declared:
    text = _pyproject()
    if text:
        project = tomllib.loads(text)["project"]
        extras = project.get("optional-dependencies", {})
        return _Declared(
            project["dependencies"], [line for each in extras.values() for line in each]
        )
    lines = metadata.requires("actorrl") or []
    extra = [line for line in lines if "extra ==" in line]
    return _Declared([line for line in lines if line not in extra], extra)


def _pyproject() -> str:
    try:
        return (PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return ""
