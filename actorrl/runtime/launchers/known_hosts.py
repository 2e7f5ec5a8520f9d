"""The keys of SSH servers that the user trusts: OpenSSH's known_hosts files, read and added to.

Own code, since paramiko's reader knows neither @revoked lines nor patterns. Keys are compared as
bytes and never parsed, so a key type that this program cannot use can do no harm here.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from actorrl.errors import HostError
from actorrl.paths import expanded
from actorrl.runtime.host_specs import SshSpec

_SSH_PORT = 22


class Verdict(enum.Enum):
    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    CHANGED = "changed"  # other keys are known under this name
    REVOKED = "revoked"


class Judgement(NamedTuple):
    """`where` is FILE:LINE of the entry that decided, "" for none."""

    verdict: Verdict
    where: str


class HostKey(NamedTuple):
    """What a server shows. `name` is what known_hosts calls it."""

    name: str
    key_type: str
    blob: bytes


class UnknownHostKey(HostError):
    """No key is known for a server. `spec` is that server, which may be a hop."""

    def __init__(self, message: str, spec: SshSpec, key: HostKey) -> None:
        super().__init__(message)
        self.spec = spec
        self.key = key


class _Entry(NamedTuple):
    where: str
    marker: str
    patterns: tuple[str, ...]
    key_type: str
    blob: bytes


class KnownHosts:
    """What the files say; files that are not there say nothing."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._entries = [entry for path in paths for entry in _read(expanded(path))]

    def judge(self, name: str, blob: bytes) -> Judgement:
        """Of a server that is known as `name` (see `known_as`) and shows this key."""
        entries = [entry for entry in self._entries if _names(entry, name)]
        for entry in entries:
            if entry.marker == "@revoked" and entry.blob == blob:
                return Judgement(Verdict.REVOKED, entry.where)
        plain = [entry for entry in entries if not entry.marker]
        for entry in plain:
            if entry.blob == blob:
                return Judgement(Verdict.TRUSTED, entry.where)
        if plain:
            return Judgement(Verdict.CHANGED, plain[0].where)
        return Judgement(Verdict.UNKNOWN, "")

    def key_types(self, name: str) -> list[str]:
        """Types of the keys known under this name: a server has several, and has to be asked for
        one of these."""
        known = [e.key_type for e in self._entries if not e.marker and _names(e, name)]
        return list(dict.fromkeys(known))


def known_as(host: str, port: int, alias: str | None) -> str:
    """The name under which known_hosts has a server."""
    if alias:
        return alias.lower()
    return host.lower() if port == _SSH_PORT else f"[{host.lower()}]:{port}"


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -lf` prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"


def trust(path: str, name: str, key_type: str, blob: bytes) -> Path:
    """Add a key to a known_hosts file, made where it is missing. Raises HostError."""
    file = expanded(path)
    line = f"{name} {key_type} {base64.b64encode(blob).decode()}\n"
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "r+", encoding="utf-8", errors="replace") as opened:
            text = opened.read()
            opened.write(line if not text or text.endswith("\n") else f"\n{line}")
    except OSError as error:
        raise HostError(f"{file}: cannot be written ({error.strerror})") from None
    return file


# ---- reading ------------------------------------------------------------------------------------


def _read(path: Path) -> list[_Entry]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HostError(f"{path}: the known host keys cannot be read ({error.strerror})") from None
    entries = (_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1))
    return [entry for entry in entries if entry is not None]


def _parse(line: str, where: str) -> _Entry | None:
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    marker = words.pop(0) if words[0].startswith("@") else ""
    if len(words) < 3:
        return None
    try:
        blob = base64.b64decode(words[2], validate=True)
    except binascii.Error:
        return None
    return _Entry(where, marker, tuple(words[0].split(",")), words[1], blob)


def _names(entry: _Entry, name: str) -> bool:
    """As OpenSSH: a pattern with ! that matches excludes the whole line."""
    negated = [pattern[1:] for pattern in entry.patterns if pattern.startswith("!")]
    if any(_matches(pattern, name) for pattern in negated):
        return False
    return any(_matches(p, name) for p in entry.patterns if not p.startswith("!"))


def _matches(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return _is_hash_of(pattern, name)
    expression = re.escape(pattern.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name) is not None


def _is_hash_of(pattern: str, name: str) -> bool:
    """`|1|SALT|HMAC-SHA1 of the name`, both in base64."""
    try:
        salt, expected = (base64.b64decode(part) for part in pattern.split("|")[2:4])
    except ValueError:
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), "sha1").digest(), expected)
