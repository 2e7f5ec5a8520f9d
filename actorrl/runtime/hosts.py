"""From what the user gives as hosts to a ClusterSpec: a cluster.yml, a hostfile, or `a:4,b:4`.

    >>> [host.name for host in load_cluster("local:2,cpu[1-2]:4", ssh_config=None).hosts]
    ['local', 'cpu1', 'cpu2']

Reads files, opens no connection, and imports neither zmq nor torch; paramiko only where there is an
SSH configuration to read.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from pathlib import Path

from actorrl.errors import ConfigError
from actorrl.paths import expanded
from actorrl.runtime.host_file import host_of_list, place_of, read_cluster_file
from actorrl.runtime.host_lists import Listed, read_hostfile, read_inline
from actorrl.runtime.host_specs import LOCAL, ClusterSpec, HostSpec
from actorrl.runtime.ssh_config import USER_CONFIG, SshConfig

_YAML_SUFFIXES = (".yml", ".yaml", ".json")
_YAML_LINE = re.compile(r"\s*(-\s|[{\[]|[A-Za-z_]+\s*:(\s|$)|%YAML|---)")


def load_cluster(
    hosts: str | Path | ClusterSpec,
    *,
    ssh_config: str | Path | None = USER_CONFIG,
    roles: Iterable[str] = (),
    key: str = "hosts",
) -> ClusterSpec:
    """Read and check a host list; a ClusterSpec is returned as it is. `roles`: names of a Program
    of one's own, accepted in a cluster.yml beside actorrl's. `key`: how the user named the list.
    Raises ConfigError, with file, line and the nearest valid name for each mistake."""
    if isinstance(hosts, ClusterSpec):
        return hosts
    text = str(hosts)
    config = SshConfig(ssh_config)
    path = expanded(text)
    if text != LOCAL and path.is_file():
        return _load_file(path, config, roles)
    if isinstance(hosts, Path) or _looks_like_a_path(text):
        raise ConfigError(
            f"{key}: there is no file {text!r}, expected a cluster.yml, a hostfile, or a list such "
            "as gpu1:4,gpu2:4"
        )
    try:
        return _of_list(read_inline(text), text, config)
    except ConfigError as error:
        raise ConfigError([f"{key}: {message}" for message in error.messages]) from None


def _looks_like_a_path(text: str) -> bool:
    """Neither `local` nor a list of hosts: a list has a comma, a colon or a range."""
    if text == LOCAL:
        return False
    return "/" in text or text.endswith(_YAML_SUFFIXES) or not re.search(r"[,:\[]", text)


def _load_file(path: Path, config: SshConfig, roles: Iterable[str]) -> ClusterSpec:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read ({reason}), expected a host list") from None
    if _is_yaml(path, content):
        return read_cluster_file(content, str(path), config, roles)
    listed = read_hostfile(content, str(path))
    if not listed:
        raise ConfigError(f"{path}: no host in it, expected lines such as `gpu1 slots=8`")
    return _of_list(listed, str(path), config)


def _is_yaml(path: Path, content: str) -> bool:
    if path.suffix.lower() in _YAML_SUFFIXES:
        return True
    lines = [line for line in content.splitlines() if line.partition("#")[0].strip()]
    return bool(lines) and _YAML_LINE.match(lines[0]) is not None


def _of_list(listed: list[Listed], source: str, config: SshConfig) -> ClusterSpec:
    hosts: dict[str, HostSpec] = {}
    places: dict[Hashable, str] = {}
    errors: list[str] = []
    for address, slots, line in listed:
        where = f"{source} line {line}" if line is not None else repr(source)
        if address in hosts:
            errors.append(f"{where}: {address!r} is there already, expected every host once")
            continue
        try:
            host = host_of_list(address, slots, config)
        except ConfigError as error:
            errors += [f"{where}: {message}" for message in error.messages]
            continue
        hosts[address] = host
        before = places.setdefault(place_of(host), address)
        if before != address:
            errors.append(f"{where}: {address!r} is there already, as {before!r}")
    if errors:
        raise ConfigError(errors)
    return ClusterSpec(hosts=tuple(hosts.values()), source=source)
