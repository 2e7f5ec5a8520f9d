"""The user's own SSH configuration: what it says of a host that the host list leaves open.

paramiko reads the format (Host and Match blocks, patterns, %h); it is imported only when there is a
file to read. `Include`, which it lacks, is resolved here before.
"""

from __future__ import annotations

import getpass
import glob
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from actorrl.errors import ConfigError
from actorrl.paths import expanded
from actorrl.runtime.host_ranges import Address, parse_address
from actorrl.runtime.host_specs import SshSpec

USER_CONFIG = "~/.ssh/config"

_MAX_DEPTH = 16  # as OpenSSH: of files that include files
_MAX_HOPS = 8
_TIMEOUT_S = 10.0
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LINE = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*?)\s*$")


class SshConfig:
    """The words of one ssh_config file by host; of no file, none."""

    def __init__(self, path: str | Path | None = USER_CONFIG) -> None:
        self._path = expanded(path) if path is not None else None
        self._parsed: Any = None  # paramiko has no types
        if self._path is not None and self._path.is_file():
            self._parsed = _parse(self._path)

    def lookup(self, host: str) -> Mapping[str, Any]:
        """Lower-case keywords -> values for the name as the user writes it."""
        if self._parsed is None:
            return {}
        try:
            found: Mapping[str, Any] = self._parsed.lookup(host)
        except Exception as error:  # Match exec, canonical names: paramiko raises what it likes
            raise ConfigError(f"{self._path}: {host}: cannot be looked up ({error})") from None
        return found

    def resolve(
        self,
        address: Address,
        given: Mapping[str, Any],
        for_hops: Mapping[str, Any] = {},
    ) -> SshSpec:
        """Where and how to connect. `given` holds keys of SshKeys, which go before the file's;
        `for_hops` what `given`'s own hops have where neither they nor the file say: their user and
        key are mostly the host's. Raises ConfigError for hops that cannot be followed."""
        return self._resolve(address, given, for_hops, depth=0)

    def _resolve(
        self,
        address: Address,
        given: Mapping[str, Any],
        otherwise: Mapping[str, Any],
        depth: int,
    ) -> SshSpec:
        if depth > _MAX_HOPS:
            raise ConfigError(
                f"ProxyJump: more than {_MAX_HOPS} hops, {address.host} leads in a circle"
            )
        found = self.lookup(address.host)
        hops, for_hops = given.get("proxy_jump"), otherwise
        if hops is None:
            hops, for_hops = self._configured_hops(address.host, found), {}
        timeout_s = given.get("connect_timeout_s") or _timeout_s(found, address.host)
        is_hop = depth > 0
        identity, identities_only = _identity(
            given.get("identity_file"), found, otherwise.get("identity_file") if is_hop else None
        )
        user = address.user or given.get("user") or found.get("user")
        return SshSpec(
            host=str(found.get("hostname") or address.host),
            port=address.port or given.get("port") or _port(found, address.host),
            user=user or (is_hop and otherwise.get("user")) or getpass.getuser(),
            identity_file=identity,
            identities_only=identities_only,
            proxy_jump=self._chain(hops, for_hops, timeout_s, depth),
            connect_timeout_s=timeout_s,
            host_key_alias=found.get("hostkeyalias"),
            known_hosts=_known_hosts(
                given.get("known_hosts") or (is_hop and otherwise.get("known_hosts")), found
            ),
        )

    def _chain(
        self, hops: list[str], otherwise: Mapping[str, Any], timeout_s: float, depth: int
    ) -> tuple[SshSpec, ...]:
        """Every hop is looked up on its own, and only the first may bring further ones: the others
        are reached through the hop before them."""
        chain: list[SshSpec] = []
        for index, hop in enumerate(hops):
            given: dict[str, Any] = {"connect_timeout_s": timeout_s}
            if index:
                given["proxy_jump"] = []
            address = parse_address(hop.removeprefix("ssh://"))
            spec = self._resolve(address, given, otherwise, depth + 1)
            chain += [*spec.proxy_jump, _without_hops(spec)]
        return tuple(chain)

    def _configured_hops(self, host: str, found: Mapping[str, Any]) -> list[str]:
        jump = str(found.get("proxyjump") or "none")
        if jump.lower() != "none":
            return [hop.strip() for hop in jump.split(",") if hop.strip()]
        if found.get("proxycommand"):
            raise ConfigError(
                f"{host}: {self._path} gives a ProxyCommand, which is not run; "
                "expected proxy_jump here, or ProxyJump there"
            )
        return []


def _without_hops(spec: SshSpec) -> SshSpec:
    return msgspec.structs.replace(spec, proxy_jump=())


def _port(found: Mapping[str, Any], host: str) -> int:
    text = str(found.get("port") or 22)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ConfigError(f"{host}: the SSH configuration gives the port {text!r}, which is none")
    return int(text)


def _timeout_s(found: Mapping[str, Any], host: str) -> float:
    """As ssh reads it: `90`, `1m30s`, or `none`; of no limit, ours."""
    text = str(found.get("connecttimeout") or "none").lower()
    if text == "none":
        return _TIMEOUT_S
    if not re.fullmatch(r"(\d+[smhdw]?)+", text):
        raise ConfigError(
            f"{host}: the SSH configuration gives ConnectTimeout {text!r}, expected seconds"
        )
    parts = re.findall(r"(\d+)([smhdw]?)", text)
    return float(sum(int(number) * _UNITS_S[unit] for number, unit in parts)) or _TIMEOUT_S


def _identity(
    given: str | None, found: Mapping[str, Any], otherwise: str | None
) -> tuple[str | None, bool]:
    """The key file, and whether it is the only one to offer. Of several in the SSH configuration
    the first that exists; as with ssh itself, one that does not is passed over."""
    only = str(found.get("identitiesonly", "no")).lower() == "yes"
    candidates = [given] if given is not None else [*(found.get("identityfile") or ()), otherwise]
    for path in filter(None, candidates):
        expanded = os.path.abspath(os.path.expanduser(path))
        if path == given or os.path.isfile(expanded):
            return expanded, only
    return None, only


def _known_hosts(given: Any, found: Mapping[str, Any]) -> tuple[str, ...]:
    if given:
        return (os.path.abspath(os.path.expanduser(given)),)
    user = str(found.get("userknownhostsfile") or "~/.ssh/known_hosts ~/.ssh/known_hosts2")
    everyone = str(found.get("globalknownhostsfile") or "/etc/ssh/ssh_known_hosts")
    words = [*user.split(), *everyone.split()]
    return tuple(os.path.expanduser(word) for word in words if word.lower() != "none")


# ---- reading -------------------------------------------------------------------------------------


def _parse(path: Path) -> Any:
    from paramiko.config import SSHConfig

    try:
        return SSHConfig.from_text("\n".join(_with_includes(path, "Host *", 0)))
    except ConfigError:
        raise
    except Exception as error:  # its own errors, and those of reading text
        raise ConfigError(f"{path}: cannot be read ({error}), expected an ssh_config") from None


class _Line(NamedTuple):
    keyword: str
    value: str


def _with_includes(path: Path, block: str, depth: int) -> Iterator[str]:
    """The lines of a file with included files in their place. `block` is the Host or Match line
    that is in force; it is said again after an include, which may have begun blocks of its own."""
    if depth > _MAX_DEPTH:
        raise ConfigError(
            f"{path}: Include goes deeper than {_MAX_DEPTH} files, expected no circle"
        )
    for text in path.read_text(encoding="utf-8").splitlines():
        line = _split(text)
        if line.keyword in ("host", "match"):
            block = text
        if line.keyword != "include":
            yield text
            continue
        for included in _included(line.value, path):
            yield from _with_includes(included, block, depth + 1)
            yield block


def _split(text: str) -> _Line:
    match = _LINE.match(text)
    return _Line(match[1].lower(), match[2]) if match else _Line("", "")


def _included(value: str, path: Path) -> list[Path]:
    """Relative names are meant from ~/.ssh; of a pattern, all files in order."""
    found: list[Path] = []
    for word in value.replace('"', " ").split():
        pattern = os.path.join(path.parent, os.path.expanduser(word))
        found += [Path(name) for name in sorted(glob.glob(pattern)) if os.path.isfile(name)]
    return found
