"""Logging in to an SSH server with keys: an identity file, an agent's keys, or those of ~/.ssh.

Never a password and never a prompt. The host's key has been checked before anything here runs.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import paramiko

from actorrl.errors import HostError
from actorrl.paths import expanded
from actorrl.runtime.host_specs import SshSpec
from actorrl.runtime.launchers.known_hosts import fingerprint

_MAX_KEYS = 5  # servers hang up after 6 attempts (MaxAuthTries)
_OWN_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
_MAGIC = b"openssh-key-v1\0"


class Candidate(NamedTuple):
    label: str
    key: Any  # paramiko.PKey, which has no types


class Keys(NamedTuple):
    """What can be tried, and why some keys cannot."""

    candidates: list[Candidate]
    notes: list[str]


def log_in(transport: Any, spec: SshSpec, where: str) -> None:
    """Raises HostError naming the user and the keys that were tried."""
    keys = find_keys(spec, where)
    if not keys.candidates:
        raise HostError(f"{where}: no key to log in with\n" + _indented(_no_key(spec, keys.notes)))
    tried = []
    for candidate in keys.candidates[:_MAX_KEYS]:
        tried.append(f"{candidate.label} ({fingerprint(candidate.key.asbytes())})")
        try:
            more = transport.auth_publickey(spec.user, candidate.key)
        except paramiko.BadAuthenticationType as error:
            allowed = ", ".join(error.allowed_types)
            raise HostError(
                f"{where}: it accepts no keys from {spec.user}, only: {allowed}\n"
                "  actorrl logs in with keys alone: allow PubkeyAuthentication on the host"
            ) from None
        except paramiko.AuthenticationException:
            if not transport.is_active():
                break
            continue
        if more:
            raise HostError(
                f"{where}: it wants more than a key of {spec.user}: {', '.join(more)}\n"
                "  actorrl logs in with keys alone: use a user for whom a key is enough"
            )
        return
    raise HostError(_refused(spec, where, tried, keys.notes))


def _refused(spec: SshSpec, where: str, tried: list[str], notes: list[str]) -> str:
    key = spec.identity_file or "FILE"
    lines = [
        *(f"tried {label}" for label in tried),
        *notes,
        "wrong user? ssh: {user: NAME} in the host file, or User in ~/.ssh/config",
        f"wrong key? let the right one in: ssh-copy-id -i {key} -p {spec.port} "
        f"{spec.user}@{spec.host}",
    ]
    return f"{where}: it lets user {spec.user} in with none of your keys\n" + _indented(lines)


def _no_key(spec: SshSpec, notes: list[str]) -> list[str]:
    if notes:
        return notes
    return [
        "no identity_file is given, no SSH agent holds a key, and ~/.ssh has none",
        "make one: ssh-keygen -t ed25519; let it in: ssh-copy-id "
        f"-p {spec.port} {spec.user}@{spec.host}",
    ]


def _indented(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)


# ---- finding keys -------------------------------------------------------------------------------


def find_keys(spec: SshSpec, where: str) -> Keys:
    """The identity file first, by way of the agent where that holds it; then, unless
    `identities_only`, the agent's other keys; without an identity file those of ~/.ssh last."""
    held = _agent_keys()
    found = Keys([], [])
    if spec.identity_file is not None:
        _add_file(found, Path(spec.identity_file), held, where)
        if spec.identities_only:
            return found
    have = {candidate.key.asbytes() for candidate in found.candidates}
    found.candidates.extend(held[blob] for blob in held if blob not in have)
    if spec.identity_file is None:
        for name in _OWN_KEYS:
            path = expanded(name)
            if path.exists() and public_part(path) not in held:
                _add_file(found, path, held, where)
    return found


def _agent_keys() -> dict[bytes, Candidate]:
    """Public part -> key, of the agent at SSH_AUTH_SOCK."""
    with contextlib.suppress(paramiko.SSHException, OSError):
        return {
            key.asbytes(): Candidate(f"the agent's key {key.comment or key.get_name()}", key)
            for key in paramiko.Agent().get_keys()
        }
    return {}


def _add_file(found: Keys, path: Path, held: dict[bytes, Candidate], where: str) -> None:
    public = public_part(path)
    if public in held:
        found.candidates.append(Candidate(f"{path}, held by the agent", held[public].key))
        return
    try:
        found.candidates.append(Candidate(str(path), paramiko.PKey.from_path(path)))
    except OSError as error:
        raise HostError(
            f"{where}: the identity file {path} cannot be read ({error.strerror})\n"
            "  name the right one: ssh: {identity_file: FILE}"
        ) from None
    except Exception as error:  # what paramiko and its crypto library raise has no common base
        found.notes.append(_unusable(path, error))


def _unusable(path: Path, error: Exception) -> str:
    if not _is_encrypted(path.read_bytes()):
        return f"{path} is no private key that can be used ({error})"
    if "SSH_AUTH_SOCK" not in os.environ:
        return f"{path} is encrypted and no SSH agent runs: eval $(ssh-agent); ssh-add {path}"
    return f"{path} is encrypted and your SSH agent does not hold it: ssh-add {path}"


def public_part(path: Path) -> bytes:
    """The public key of a private key's file, which needs no passphrase; b"" if it is not said."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return base64.b64decode(Path(f"{path}.pub").read_text().split()[1], validate=True)
    with contextlib.suppress(OSError, ValueError):
        return _OpenSshKey.read(path.read_bytes()).public
    return b""


def _is_encrypted(data: bytes) -> bool:
    with contextlib.suppress(ValueError):
        return _OpenSshKey.read(data).cipher != b"none"
    return b"ENCRYPTED" in data


class _OpenSshKey(NamedTuple):
    """What OpenSSH's own format says without the passphrase."""

    cipher: bytes
    public: bytes

    @classmethod
    def read(cls, data: bytes) -> _OpenSshKey:
        """Raises ValueError for another format."""
        lines = [line for line in data.splitlines() if line and not line.startswith(b"-----")]
        try:
            rest = base64.b64decode(b"".join(lines), validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from None
        if not rest.startswith(_MAGIC):
            raise ValueError("not in OpenSSH's format")
        cipher, rest = _take(rest[len(_MAGIC) :])
        _kdf, rest = _take(rest)
        _kdf_options, rest = _take(rest)
        public, _ = _take(rest[4:])  # after the number of keys, which is 1
        return cls(cipher, public)


def _take(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length:
        raise ValueError("cut short")
    return data[4 : 4 + length], data[4 + length :]
