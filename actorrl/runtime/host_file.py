"""cluster.yml: read, checked with every mistake named at once, defaults and SSH words filled in."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import msgspec

from actorrl.config import did_you_mean
from actorrl.errors import ConfigError
from actorrl.runtime.host_keys import DefaultKeys, FileKeys
from actorrl.runtime.host_ranges import expand, parse_address
from actorrl.runtime.host_specs import (
    LOCAL,
    ROLES,
    ClusterSpec,
    FailureSpec,
    HostSpec,
    NetworkSpec,
    ResourceSpec,
    RoleSpec,
    SshSpec,
    SyncSpec,
)
from actorrl.runtime.marked_yaml import MarkedYaml
from actorrl.runtime.ssh_config import SshConfig

_NOT_LOCAL = ("ssh", "python", "workdir", "sync", "setup")  # the driver's own are used
_OF_DEFAULTS = tuple(field.name for field in msgspec.structs.fields(DefaultKeys))

Keys = dict[str, Any]


def read_cluster_file(
    content: str, source: str, config: SshConfig, roles: Iterable[str] = ()
) -> ClusterSpec:
    """`roles`: names of a Program of one's own, accepted beside actorrl's. Raises ConfigError."""
    text = MarkedYaml(content, source)
    keys = text.read(FileKeys)
    if text.mistakes and not keys:
        text.raise_if_any()
    reader = _Reader(text, keys, config, (*ROLES, *roles))
    spec = reader.cluster(source)
    text.raise_if_any()
    assert spec is not None
    return spec


class _Reader:
    """Turns the keys of a file into a ClusterSpec, and gathers what they say wrongly together."""

    def __init__(self, text: MarkedYaml, keys: Keys, config: SshConfig, roles: Iterable[str]):
        self._text = text
        self._keys = keys
        self._config = config
        self._roles = tuple(roles)
        self._name = keys.get("name", "cluster")

    def cluster(self, source: str) -> ClusterSpec | None:
        """None after a mistake."""
        self._check_paths("defaults", self._keys.get("defaults", {}))
        self._check_roles("roles", self._keys.get("roles", {}))
        hosts = self._hosts()
        network = NetworkSpec(**self._keys.get("network", {}))
        failure = FailureSpec(**self._keys.get("failure", {}))
        if not hosts:
            if not self._text.mistakes:
                self._wrong("hosts", "missing, expected a list of hosts, such as [local]")
            return None
        self._check_security(network, hosts)
        if failure.min_hosts > len(hosts):
            wrong = f"{failure.min_hosts} is not accepted, there are {len(hosts)} hosts"
            self._wrong("failure.min_hosts", wrong)
        return ClusterSpec(
            name=self._name,
            network=network,
            hosts=tuple(hosts),
            roles={name: RoleSpec(**role) for name, role in self._keys.get("roles", {}).items()},
            failure=failure,
            source=source,
        )

    def _wrong(self, path: str, what: str) -> None:
        self._text.wrong(self._text.line_of(path), f"{path}: {what}")

    # ---- hosts --------------------------------------------------------------------------

    def _hosts(self) -> list[HostSpec]:
        hosts: list[HostSpec] = []
        seen: dict[Any, tuple[str, str]] = {}  # where it is -> (path, name) of who came first
        for index, keys in enumerate(self._keys.get("hosts", [])):
            path = f"hosts[{index}]"
            self._check_paths(path, keys)
            self._check_roles(f"{path}.roles", keys.get("roles", []))
            for name in self._names(path, keys):
                host = self._host(path, name, keys)
                if host is not None and self._is_new(host, path, seen):
                    hosts.append(host)
        return hosts

    def _names(self, path: str, keys: Keys) -> list[str]:
        written = keys.get("host")
        if written is None:
            self._wrong(path, "host is missing, expected `local` or [user@]host[:port]")
            return []
        try:
            return expand(written)
        except ConfigError as error:
            self._wrong(f"{path}.host", str(error))
            return []

    def _host(self, path: str, name: str, keys: Keys) -> HostSpec | None:
        merged = _merged(self._keys.get("defaults", {}), keys)
        ssh = None
        if name == LOCAL:
            for key in _NOT_LOCAL:
                if key in keys:
                    self._wrong(f"{path}.{key}", "not accepted for `local`, which has the driver's")
        else:
            ssh = self._ssh(path, name, keys)
            if ssh is None:
                return None
        sync = SyncSpec(**merged.get("sync", {}))
        return HostSpec(
            name=name,
            ssh=ssh,
            python=merged.get("python", HostSpec(name=name).python),
            workdir=merged.get("workdir") or self._workdir(sync),
            sync=sync,
            env=merged.get("env", {}),
            pass_env=tuple(merged.get("pass_env", ())),
            setup=tuple(merged.get("setup", ())),
            resources=ResourceSpec(**merged.get("resources", {})),
            roles=tuple(keys.get("roles", ())),
            required=keys.get("required", True),
        )

    def _ssh(self, path: str, name: str, keys: Keys) -> SshSpec | None:
        defaults, own = self._keys.get("defaults", {}).get("ssh", {}), keys.get("ssh", {})
        merged = {**defaults, **own}
        for_hops = merged if "proxy_jump" in own else defaults  # of those who name the hops
        try:
            address = parse_address(name)
            for key in ("port", "user"):
                written, given = getattr(address, key), own.get(key)
                if written is not None and given is not None and written != given:
                    raise ConfigError(f"{name!r} and ssh.{key} {given!r} differ, expected one")
            return self._config.resolve(address, merged, for_hops)
        except ConfigError as error:
            self._wrong(f"{path}.host", str(error))
            return None

    def _workdir(self, sync: SyncSpec) -> str:
        if sync.mode == "shared":
            return os.path.abspath(os.path.expanduser(sync.source))
        return f"~/actorrl/{self._name}"

    def _is_new(self, host: HostSpec, path: str, seen: dict[Any, tuple[str, str]]) -> bool:
        """No name twice, and no machine under two names: its GPUs would be given out twice."""
        places = [host.name, place_of(host)]
        for place in places:
            if place in seen:
                at, before = seen[place]
                same = "" if before == host.name else f", as {before!r}"
                line = self._text.line_of(f"{at}.host")
                self._wrong(f"{path}.host", f"{host.name!r} is there already, on line {line}{same}")
                return False
        seen.update(dict.fromkeys(places, (path, host.name)))
        return True

    # ---- checks -------------------------------------------------------------------------

    def _check_paths(self, path: str, keys: Keys) -> None:
        """What is wrong with the paths that a layer of keys names, said where they are written."""
        identity = keys.get("ssh", {}).get("identity_file")
        if identity is not None and not os.path.isfile(os.path.expanduser(identity)):
            wrong = f"{identity!r} is no file here, expected a private key"
            self._wrong(f"{path}.ssh.identity_file", wrong)
        sync = keys.get("sync", {})
        source = sync.get("source")
        if source is not None and not os.path.isdir(os.path.expanduser(source)):
            self._wrong(f"{path}.sync.source", f"{source!r} is no folder here, expected one")

    def _check_roles(self, path: str, named: Iterable[str]) -> None:
        for name in named:
            if name not in self._roles:
                known = (
                    did_you_mean(name, self._roles) or f", accepted are {', '.join(self._roles)}"
                )
                within = f"{path}.{name}" if isinstance(named, Mapping) else path
                self._wrong(within, f"unknown role {name!r}{known}")

    def _check_security(self, network: NetworkSpec, hosts: list[HostSpec]) -> None:
        remote = [host.name for host in hosts if not host.is_local]
        if network.security == "none" and remote:
            wrong = f"'none' is for this machine alone, and {remote[0]} is another"
            self._wrong("network.security", f"{wrong}; expected curve")


def _merged(defaults: Keys, keys: Keys) -> Keys:
    """A host's keys over the defaults; mappings key by key, lists as a whole."""
    merged = {key: value for key, value in keys.items() if key in _OF_DEFAULTS}
    for key, value in defaults.items():
        own = merged.get(key)
        if own is None:
            merged[key] = value
        elif isinstance(value, dict):
            merged[key] = {**value, **own}
    return merged


def place_of(host: HostSpec) -> Hashable:
    """Two of one place are the same machine."""
    ssh = host.ssh
    return (ssh.host, ssh.port, ssh.proxy_jump) if ssh is not None else LOCAL


def host_of_list(address: str, slots: int | None, config: SshConfig) -> HostSpec:
    """A host that a plain list names. Raises ConfigError."""
    resources = ResourceSpec(cpu=slots) if slots is not None else ResourceSpec()
    if address == LOCAL:
        return HostSpec(name=LOCAL, resources=resources)
    ssh = config.resolve(parse_address(address), {})
    return HostSpec(name=address, ssh=ssh, resources=resources)
