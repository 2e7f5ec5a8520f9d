"""Asking a host what it has, without writing anything there, and what of that is wrong."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec

from actorrl.errors import HostError, VersionError
from actorrl.runtime.host_specs import HostSpec
from actorrl.runtime.launchers import own
from actorrl.runtime.launchers.connection import Connection
from actorrl.runtime.launchers.remote_command import NoAnswer, run_script_by, shell_path

_PROBE_S = 60.0
_MIN_FREE_BYTES = 200 << 20
_NO_PYTHON = 93  # exit code of the line below
_CREATED = ".venv/bin/python"  # the interpreter that is made where it is missing


class Installed(msgspec.Struct):
    """An actorrl that is found on a host."""

    version: str | None
    protocol: int | None
    path: str


class Facts(msgspec.Struct):
    """What a host says of itself; see remote/probe.py. `python` is the interpreter that was found:
    the host file's, or, where that one is still to be made, the one that can make it."""

    python: str
    version: tuple[int, int, int]
    system: str
    hostname: str
    num_cpus: int
    memory_bytes: int
    gpus: list[str]
    free_bytes: int
    workdir: str
    workdir_is_writable: bool
    free_ports: int
    actorrl: Installed | None
    packages: dict[str, str | None]
    has_made_venv: bool
    ssh_connection: str
    makes_venv: bool = False  # .venv is made, or kept up to date, before anything starts

    @property
    def python_version(self) -> str:
        return ".".join(map(str, self.version))

    @property
    def own_address(self) -> str:
        """The host's address at its end of the SSH connection."""
        words = self.ssh_connection.split()
        return words[2] if len(words) == 4 else ""


def probe(connection: Connection, host: HostSpec, ports: tuple[int, int]) -> Facts:
    """Raises HostError, for a host without Python with what to do."""
    told: dict[str, Any] = {
        "workdir": host.workdir,
        "ports": list(ports),
        "packages": list(own.requirements()),
        "paths": [],
    }
    if host.sync.mode == "shared":
        told["paths"] = [str(own.PACKAGE.parent)]
    try:
        answer = run_script_by(_line(host), connection, "probe", told, _PROBE_S)
        facts = msgspec.convert(answer, Facts)
    except NoAnswer as error:
        raise HostError(_no_python(host, error)) from None
    except msgspec.ValidationError as error:
        raise HostError(f"{host.name}: probe: its answer makes no sense ({error})") from None
    is_there = facts.python.endswith(f"/{_CREATED}")
    facts.makes_venv = makes_venv(host) and (facts.has_made_venv or not is_there)
    return facts


def makes_venv(host: HostSpec) -> bool:
    """Whether the interpreter is one that actorrl makes when it is missing."""
    return host.python == _CREATED and host.sync.mode == "copy"


def interpreter(host: HostSpec) -> str:
    """The host file's interpreter as a path there; a name without / is looked up in PATH."""
    if host.python.startswith(("/", "~")) or "/" not in host.python:
        return host.python
    return f"{host.workdir.rstrip('/')}/{host.python}"


def _line(host: HostSpec) -> str:
    """Start the first interpreter that is there."""
    words = [shell_path(interpreter(host))]
    if makes_venv(host):
        minor = ".".join(map(str, own.PYTHON))
        words += [f"python{minor}", f"/usr/local/bin/python{minor}", "python3"]
    return (
        f"for p in {' '.join(words)}; do "
        'if command -v "$p" >/dev/null 2>&1; then '
        'ACTORRL_FOUND_PYTHON=$(command -v "$p"); export ACTORRL_FOUND_PYTHON; '
        f'exec "$p" -c @STUB@; fi; done; exit {_NO_PYTHON}'
    )


def _no_python(host: HostSpec, error: NoAnswer) -> str:
    path = interpreter(host)
    if error.answer.code != _NO_PYTHON:
        return f"{error}\n  can {path} be run there? Name another one: python: PATH"
    if makes_venv(host):
        return (
            f"{host.name}: it has no Python\n  install Python {_minor(own.PYTHON)} there, "
            "or name one: python: PATH"
        )
    return (
        f"{host.name}: there is no {path}\n"
        f"  name a Python {_minor(own.PYTHON)} that is there: python: PATH; or leave `python` "
        "out: then .venv is made in workdir"
    )


def check_facts(host: HostSpec, facts: Facts, ports: tuple[int, int]) -> None:
    """Raises VersionError or HostError for the first thing with which actorrl cannot run. `ports`
    are `network.ports`, of which the host was asked."""
    _check_python(host, facts)
    if host.sync.mode != "copy":
        _check_actorrl(host, facts)
    elif not facts.workdir_is_writable:
        raise HostError(f"{host.name}: {facts.workdir} cannot be written\n  set workdir: PATH")
    if facts.free_bytes < _MIN_FREE_BYTES:
        raise HostError(
            f"{host.name}: only {facts.free_bytes >> 20} MB are free at {facts.workdir}\n"
            "  make room, or set workdir: PATH on another disk"
        )
    if facts.free_ports == 0:
        raise HostError(
            f"{host.name}: no port of {ports[0]}-{ports[1]} (network.ports) is free: another run or"
            f" program has them\n  end it (there: ss -ltnp), or set network: {{ports: FIRST-LAST}}"
        )
    missing = [] if facts.makes_venv else _missing(facts)
    if missing:
        raise HostError(
            f"{host.name}: {facts.python} lacks {', '.join(missing)}\n"
            f"  {shlex.quote(facts.python)} -m pip install {' '.join(missing)}\n"
            "  or leave `python` out: then .venv is made in workdir, with all of them"
        )


def _check_python(host: HostSpec, facts: Facts) -> None:
    if tuple(facts.version[:2]) != own.PYTHON:
        raise VersionError(
            f"{host.name}: {facts.python} is Python {facts.python_version}, the driver's is "
            f"{_minor(own.PYTHON)}\n  {_other_python(facts)}"
        )


def _other_python(facts: Facts) -> str:
    if facts.has_made_venv:
        return f"remove {facts.workdir}/.venv there, it is made anew"
    return f"install {_minor(own.PYTHON)} there, or name one: python: PATH"


def _check_actorrl(host: HostSpec, facts: Facts) -> None:
    there, mode = facts.actorrl, host.sync.mode
    if there is None:
        raise VersionError(
            f"{host.name}: {facts.python} has no actorrl, and sync is {mode}\n"
            "  install it there, or set sync: {mode: copy}"
        )
    if there.protocol != own.PROTOCOL or there.version != own.version():
        raise VersionError(
            f"{host.name}: actorrl {there.version} (protocol {there.protocol}) at {there.path}, "
            f"the driver's is {own.version()} (protocol {own.PROTOCOL}), and sync is {mode}\n"
            "  install the same there, or set sync: {mode: copy}"
        )


def _missing(facts: Facts) -> list[str]:
    """Packages without which no actor starts; what else the driver has is only wished for."""
    needed = own.needed()
    return [name for name, version in facts.packages.items() if version is None and name in needed]


def _minor(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
